import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, take } from '../../data/api.ts';
import { lastDays, PERIODS } from '../../data/period.ts';
import { useData } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { TIME_ZONE, words } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Loading, Page, Problem } from '../basics.tsx';
import { Segments, Select } from '../forms.tsx';
import { CompleteTo } from '../freshness.tsx';
import { Export, inUnits, NAMED, Result, TITLES } from './report-result.tsx';
import { SaveReport } from './save-report.tsx';
import { SavedReportView } from './saved-report-view.tsx';
import { SavedReports } from './saved-reports.tsx';

/** Dimensions for every role; operators also have affiliates. */
export const DIMENSIONS = [
  'day',
  'week',
  'month',
  'hour',
  'campaign',
  'link',
  'country',
  'device',
  'flag_group',
  'os',
  'browser',
  'language',
  'referrer_domain',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'coupon',
] as const;

/** Reports by any of the API's dimensions: a chart where time is one, always a table, and a file. */

const CLICK_METRICS = ['clicks', 'valid_clicks', 'unique_visitors'] as const;
/** Dimensions of conversions; all others exist for clicks only, but {@link COUPON}. */
const OF_CONVERSIONS = new Set([
  '',
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'campaign',
  'affiliate',
  'link',
  'country',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
]);
/** The code that credits an order: no click has one, and nothing is counted per click. */
const COUPON = 'coupon';
const PER_CLICK = new Set(['conversion_rate', 'epc_minor', 'own_epc_minor']);
/** The period of a saved report that is nearest to the one that is shown. */
const RANGE_OF: Readonly<Record<string, 'yesterday' | 'last_7_days' | 'last_30_days' | 'last_90_days'>> = {
  '1': 'yesterday',
  '7': 'last_7_days',
  '30': 'last_30_days',
  '90': 'last_90_days',
};
const MOST_ROWS = 500;

interface Choices {
  dimensions: readonly string[];
  conversionMetrics: readonly string[];
}

/** The report that is chosen here, or the saved one that the address names. */
export function ReportBuilder(props: Choices) {
  const [saved, setSaved] = useParameter('saved');
  if (saved !== '') return <SavedReportView key={saved} id={saved} onClose={() => setSaved('')} />;
  return <Builder {...props} />;
}

function Builder(props: Choices) {
  const { program } = useSession();
  const [days, setDays] = useParameter('days', '30');
  const [first, setFirst] = useParameter('by', 'day');
  const [chosen, setSecond] = useParameter('then', '');
  const seconds = props.dimensions.filter((name) => mayFollow(name, first));
  const second = seconds.includes(chosen) ? chosen : '';
  const groups = [first, second].filter((name) => name !== '');
  const metrics = metricsOf(groups, props.conversionMetrics);
  const byTime = first === 'day' || first === 'week' || first === 'month' || first === 'hour';
  const query = {
    ...lastDays(Number(days)),
    time_zone: TIME_ZONE,
    group_by: groups.join(','),
    metrics: metrics.join(','),
    program_id: program.id,
    order_by: byTime ? first : `-${metrics[0]}`,
  };
  const { data, error, reload } = useData(
    async (signal) =>
      await take(
        api.GET('/v1/reports', { params: { query: { ...query, totals: true, limit: MOST_ROWS } }, signal }),
      ),
    [query],
    { page: 'reports' },
  );
  const names = useNames(NAMED);
  const file = { ...query, metrics: inUnits(query.metrics), order_by: inUnits(query.order_by) };
  const [saving, setSaving] = useState(false);
  const [saved, setSaved] = useState(0);
  return (
    <Page
      title={t('common.reports')}
      lead={<CompleteTo at={data?.complete_to} />}
      actions={<Segments label={t('common.period')} value={days} onChange={setDays} choices={PERIODS} />}
    >
      <Card>
        <div class="filters">
          <Select
            label={t('common.by')}
            value={first}
            onChange={setFirst}
            choices={choicesOf(props.dimensions)}
          />
          <Select
            label={t('reportBuilder.then_by')}
            value={second}
            onChange={setSecond}
            choices={[{ value: '', text: t('common.none') }, ...choicesOf(seconds)]}
          />
          <Export query={file} />
          <Button onClick={() => setSaving(true)}>{t('savedReports.save_report')}</Button>
        </div>
        <Hint groups={groups} />
      </Card>
      <Problem error={error} onRetry={reload} />
      {data === undefined && error === undefined && <Loading />}
      {data && (
        <Result
          report={data}
          groups={groups}
          metrics={metrics}
          names={names}
          currency={program.currency}
          zone={TIME_ZONE}
        />
      )}
      <SavedReports version={saved} />
      {saving && (
        <SaveReport
          query={{ group_by: file.group_by, metrics: file.metrics, order_by: file.order_by }}
          range={RANGE_OF[days] ?? 'last_30_days'}
          onClose={() => setSaving(false)}
          onSaved={() => {
            setSaving(false);
            setSaved(saved + 1);
          }}
        />
      )}
    </Page>
  );
}

function choicesOf(dimensions: readonly string[]) {
  return dimensions.map((value) => ({ value, text: TITLES[value] ?? words(value) }));
}

/** What is of clicks alone says nothing of codes. */
function mayFollow(name: string, first: string): boolean {
  if (name === first) return false;
  if (first === COUPON) return OF_CONVERSIONS.has(name);
  return name !== COUPON || OF_CONVERSIONS.has(first);
}

/** Figures that exist for all of these dimensions. */
function metricsOf(groups: readonly string[], ofConversions: readonly string[]): string[] {
  if (groups.includes(COUPON)) return ofConversions.filter((name) => !PER_CLICK.has(name));
  return [...CLICK_METRICS, ...(isOfOrders(groups) ? ofConversions : [])];
}

function isOfOrders(groups: readonly string[]): boolean {
  return groups.every((name) => OF_CONVERSIONS.has(name));
}

function Hint({ groups }: { groups: readonly string[] }) {
  if (groups.includes(COUPON)) {
    return <p class="hint">{t('reportBuilder.by_the_code_that_credits')}</p>;
  }
  if (isOfOrders(groups)) return null;
  return <p class="hint">{t('reportBuilder.this_dimension_exists_for_clicks')}</p>;
}
