import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { formatCount, words, ZONE_NAME } from '../../text/format.ts';
import { Button, Card, Empty, Page, Problem, Progress, When } from '../../ui/basics.tsx';
import { FileField, Select } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable, Table } from '../../ui/table.tsx';

type Job = Schemas['Job'];

const KINDS = {
  affiliates: 'ref_code, name, email; optional: customer_ref, status, parent_ref_code',
  links: 'affiliate_ref_code, campaign_id, landing_url; optional: code, expires_at',
  coupons: 'affiliate_ref_code, code; optional: campaign_id, valid_from, valid_until',
  conversions:
    'order_id, amount, currency; optional: event_name, click_id, coupon, occurred_at, customer_id, customer_status, items (JSON)',
} as const;
type Kind = keyof typeof KINDS;

const EVERY_MS = 5_000;
const LOOK_MS = 700;

/** CSV files with partners, links, coupon codes or orders: dry run first, then import. */
export function ImportsPage() {
  const { program } = useSession();
  const [kind, setKind] = useState<Kind>('affiliates');
  const [csv, setCsv] = useState<File>();
  const [jobId, setJobId] = useState<string>();
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: program.id, kind: 'import' as const, cursor };
      return api.GET('/v1/jobs', { params: { query }, signal });
    },
    [program.id],
    EVERY_MS,
  );
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
    <Page
      title="Imports"
      lead="Import partners, links, coupon codes and orders from other systems. Each file runs first as a dry run that is rolled back."
    >
      <Card title="Import a file">
        <div class="form">
          <Select
            label="Kind"
            value={kind}
            onChange={(value) => {
              setKind(value as Kind);
              setJobId(undefined);
            }}
            choices={(Object.keys(KINDS) as Kind[]).map((value) => ({ value, text: words(value) }))}
            hint={`Columns: ${KINDS[kind]}.`}
          />
          <FileField
            label="CSV with a header"
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
      <Card title="Past imports">
        <ListTable
          label="Imports"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No imports yet">Choose a file above. Nothing is stored until you confirm.</Empty>
          }
          columns={[
            { title: 'Import', head: true, cell: ({ id }) => id },
            { title: `Started (${ZONE_NAME})`, cell: ({ created_at }) => <When at={created_at} /> },
            {
              title: 'Kind',
              cell: ({ request }) => words(String((request as { kind?: string }).kind ?? '')),
            },
            { title: 'Status', cell: ({ state }) => <Status of={state} /> },
            { title: 'Rows', numeric: true, cell: ({ rows_total }) => formatCount(rows_total) },
            { title: 'Result', cell: (job) => summaryOf(job) },
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
  if (!result) return job.failure ?? 'running';
  const would = result.dry_run ? 'would be imported' : 'imported';
  return `${formatCount(result.taken)} ${would}, ${formatCount(result.refused)} refused`;
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
    return (
      <Progress done={done} total={total} label={`${formatCount(done)} of ${formatCount(total)} rows`} />
    );
  }
  if (!result) return <Problem error={new Error(data.failure ?? 'the import failed')} />;
  return (
    <div class="stack outcome">
      <p class={result.refused > 0 ? 'notice warn' : 'notice good'} role="status">
        {result.dry_run ? 'Dry run: ' : 'Imported: '}
        {summaryOf(data)}.
      </p>
      <Rows label="Refused rows" rows={result.refused_rows} />
      <Rows label="Rows to look at" rows={result.noticed_rows ?? []} />
      {result.dry_run && result.taken > 0 && (
        <div class="form-end">
          <Button kind="primary" busy={busy} onClick={onTake}>
            Import {formatCount(result.taken)} rows
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
        { title: 'Line', numeric: true, cell: ({ line }) => formatCount(line) },
        { title: 'Field', head: true, cell: ({ field }) => field },
        { title: label, cell: ({ message }) => message },
      ]}
    />
  );
}
