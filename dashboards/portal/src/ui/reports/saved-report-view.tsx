import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { words } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Loading, Page, Problem } from '../basics.tsx';
import { CompleteTo } from '../freshness.tsx';
import { Export, NAMED, Result } from './report-result.tsx';
import { RANGES } from './save-report.tsx';

/** A saved report as it is kept: with its own filters, figures, order, zone and whole days. */

const MOST_ROWS = 500;
/** Amounts of files are in units of their currency, those of the table in its minor units. */
const IN_UNITS = /^(-?)((?:own_)?(?:commission|epc)|revenue)$/;
/** What the table says otherwise. */
const SAID: readonly string[] = ['group_by', 'metrics', 'order_by'];

type Saved = Schemas['SavedReport'] & { readonly from: string; readonly to: string };

async function read(id: string, signal: AbortSignal) {
  const saved = await take(api.GET('/v1/saved-reports/{id}', { params: { path: { id } }, signal }));
  const query = { ...fileOf(saved), ...inMinor(saved.query), totals: true, limit: MOST_ROWS };
  return { saved, report: await take(api.GET('/v1/reports', { params: { query }, signal })) };
}

function fileOf({ query, from, to, time_zone, program_id }: Saved): Record<string, string> & Range {
  return { ...query, from, to, time_zone, program_id };
}

interface Range {
  from: string;
  to: string;
}

function inMinor(query: Saved['query']): Record<string, string> {
  return Object.fromEntries(
    (['metrics', 'order_by'] as const).flatMap((name) => {
      const given = query[name];
      if (given === undefined) return [];
      return [
        [
          name,
          given
            .split(',')
            .map((one) => one.trim().replace(IN_UNITS, '$1$2_minor'))
            .join(','),
        ],
      ];
    }),
  );
}

export function SavedReportView({ id, onClose }: { id: string; onClose: () => void }) {
  const { program } = useSession();
  const { data, error, reload } = useData((signal) => read(id, signal), [id], { page: 'saved-report' });
  const names = useNames(NAMED);
  if (data === undefined) {
    return (
      <Page
        title={t('savedReports.title')}
        actions={<Button onClick={onClose}>{t('savedReports.other_report')}</Button>}
      >
        <Problem error={error} onRetry={reload} />
        {error === undefined && <Loading />}
      </Page>
    );
  }
  const { saved, report } = data;
  const filters = Object.entries(saved.query).filter(([name]) => !SAID.includes(name));
  return (
    <Page
      title={saved.name}
      lead={<CompleteTo at={report.complete_to} />}
      actions={<Button onClick={onClose}>{t('savedReports.other_report')}</Button>}
    >
      <Card>
        <p>{t('savedReports.days_of_zone', { range: RANGES[saved.range], zone: saved.time_zone })}</p>
        {filters.length > 0 && (
          <p class="break">
            {t('savedReports.only', {
              filters: filters.map(([name, value]) => `${words(name)}: ${value}`).join(', '),
            })}
          </p>
        )}
        <div class="filters">
          <Export query={fileOf(saved)} />
        </div>
      </Card>
      <Problem error={error} onRetry={reload} />
      <Result
        report={report}
        groups={(saved.query.group_by ?? '').split(',').filter((name) => name !== '')}
        metrics={Object.keys(report.totals ?? {}).filter((name) => name !== 'currency')}
        names={names}
        currency={program.currency}
        zone={saved.time_zone}
      />
    </Page>
  );
}
