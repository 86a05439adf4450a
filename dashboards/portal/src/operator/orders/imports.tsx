import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { formatCount, words, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Page, Problem, Progress, When } from '../../ui/basics.tsx';
import { FileField, Select } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable, Table } from '../../ui/table.tsx';

type Job = Schemas['Job'];

const KINDS = {
  affiliates: t('imports.ref_code_name_email_optional'),
  links: t('imports.affiliate_ref_code_campaign_id'),
  coupons: t('imports.affiliate_ref_code_code_optional'),
  conversions: t('imports.order_id_amount_currency_optional'),
} as const;
type Kind = keyof typeof KINDS;

const EVERY_MS = 5_000;
const LOOK_MS = 700;
const STATES = (['running', 'done', 'failed'] as const).map((value) => ({ value, text: words(value) }));
const TOOLS = {
  search: t('list.kind_or_import'),
  filters: [{ name: 'state', label: t('common.status'), choices: STATES }],
  days: true,
  file: '/v1/jobs.csv',
};

/** CSV files with partners, links, coupon codes or orders: dry run first, then import. */
export function ImportsPage() {
  const { program } = useSession();
  const [kind, setKind] = useState<Kind>('affiliates');
  const [csv, setCsv] = useState<File>();
  const [jobId, setJobId] = useState<string>();
  const list = useList((query, signal) => api.GET('/v1/jobs', { params: { query }, signal }), {
    query: { program_id: program.id, kind: 'import' },
    filters: ['state'],
    everyMs: EVERY_MS,
  });
  const { run, busy, error } = useAction(async (file: File, dryRun: boolean) => {
    const query = { kind, program_id: program.id, dry_run: dryRun };
    const headers = { 'content-type': 'text/csv' };
    const job = await take(
      api.POST('/v1/imports', { params: { query }, body: '', headers, bodySerializer: () => file }),
    );
    setJobId(job.id);
    list.reload();
  });
  return (
    <Page title={t('common.imports')} lead={t('imports.import_partners_links_coupon_codes')}>
      <Card title={t('imports.import_a_file')}>
        <div class="form">
          <Select
            label={t('common.kind')}
            value={kind}
            onChange={(value) => {
              setKind(value as Kind);
              setJobId(undefined);
            }}
            choices={(Object.keys(KINDS) as Kind[]).map((value) => ({ value, text: words(value) }))}
            hint={t('imports.columns_kinds', { kinds: KINDS[kind] })}
          />
          <FileField
            label={t('imports.csv_with_a_header')}
            accept=".csv,text/csv"
            onFile={(file) => {
              setCsv(file);
              void run(file, true);
            }}
          />
          <Problem error={error} />
        </div>
        {jobId && <Outcome key={jobId} id={jobId} busy={busy} onTake={() => csv && void run(csv, false)} />}
      </Card>
      <Card title={t('imports.past_imports')}>
        <ListTable
          label={t('common.imports')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('imports.no_imports_yet')}>{t('imports.choose_a_file_above_nothing')}</Empty>
          }
          columns={[
            { title: t('imports.import'), head: true, cell: ({ id }) => id },
            {
              title: t('imports.started_zone', { zone: ZONE_NAME }),
              sort: 'created_at',
              cell: ({ created_at }) => <When at={created_at} />,
            },
            {
              title: t('common.kind'),
              cell: ({ request }) => words(String((request as { kind?: string }).kind ?? '')),
            },
            { title: t('common.status'), sort: 'state', cell: ({ state }) => <Status of={state} /> },
            { title: t('imports.rows'), numeric: true, cell: ({ rows_total }) => formatCount(rows_total) },
            { title: t('common.result'), cell: (job) => summaryOf(job) },
          ]}
        />
      </Card>
    </Page>
  );
}

interface RowNotice {
  readonly line: number;
  readonly field: string;
  readonly message: string;
}

interface ImportResult {
  readonly dry_run: boolean;
  readonly taken: number;
  readonly refused: number;
  readonly refused_rows: readonly RowNotice[];
  /** Imports of before had none. */
  readonly noticed_rows?: readonly RowNotice[];
}

function resultOf({ result }: Job): ImportResult | undefined {
  return result === null || result === undefined ? undefined : (result as ImportResult);
}

function summaryOf(job: Job): string {
  const result = resultOf(job);
  if (!result) return job.failure ?? t('imports.running');
  const { dry_run, taken, refused } = result;
  return dry_run
    ? t('imports.would_be_imported', { taken, refused })
    : t('imports.imported', { taken, refused });
}

/** Progress and result of an import; after a dry run the import itself. */
function Outcome({ id, busy, onTake }: { id: string; busy: boolean; onTake: () => void }) {
  const [isOver, setOver] = useState(false);
  const { data, error } = useData(
    async (signal) => {
      const job = await take(api.GET('/v1/jobs/{id}', { params: { path: { id } }, signal }));
      setOver(job.state !== 'running');
      return job;
    },
    [id],
    { everyMs: isOver ? undefined : LOOK_MS },
  );
  if (!data) return <Problem error={error} />;
  const result = resultOf(data);
  if (data.state === 'running') {
    const [done, total] = [Number(data.rows_done), Number(data.rows_total)];
    return <Progress done={done} total={total} label={t('imports.progress', { done, count: total })} />;
  }
  if (!result) return <Problem error={new Error(data.failure ?? t('imports.failed'))} />;
  return (
    <div class="stack outcome">
      <p class={result.refused > 0 ? 'notice warn' : 'notice good'} role="status">
        {result.dry_run
          ? t('imports.after_dry_run', { summary: summaryOf(data) })
          : t('imports.after_import', { summary: summaryOf(data) })}
      </p>
      <Rows label={t('imports.refused_rows')} rows={result.refused_rows} />
      <Rows label={t('imports.rows_to_look_at')} rows={result.noticed_rows ?? []} />
      {result.dry_run && result.taken > 0 && (
        <div class="form-end">
          <Button kind="primary" busy={busy} onClick={onTake}>
            {t('imports.import_rows', { count: result.taken })}
          </Button>
        </div>
      )}
    </div>
  );
}

function Rows({ label, rows }: { label: string; rows: readonly RowNotice[] }) {
  if (rows.length === 0) return null;
  return (
    <Table
      label={label}
      rows={rows}
      rowKey={({ line }) => String(line)}
      columns={[
        { title: t('common.line'), numeric: true, cell: ({ line }) => formatCount(line) },
        { title: t('common.field'), head: true, cell: ({ field }) => field },
        { title: label, cell: ({ message }) => message },
      ]}
    />
  );
}
