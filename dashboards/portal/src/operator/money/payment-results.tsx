import { useState } from 'preact/hooks';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { formatCount, words } from '../../text/format.ts';
import { Button, Card, Problem } from '../../ui/basics.tsx';
import { FileField } from '../../ui/forms.tsx';
import { Table } from '../../ui/table.tsx';

/** Import of a result file of the bank or PayPal: dry run first, then recorded. */
export function PaymentResults({ onRecorded }: { onRecorded: () => void }) {
  const [file, setFile] = useState<File>();
  const [results, setResults] = useState<Schemas['PaymentResults']>();
  const { run, busy, error } = useAction(async (file: File, dryRun: boolean) => {
    const params = {
      header: newAttempt(),
      query: { dry_run: dryRun },
    };
    const headers = { 'content-type': /\.xml$/i.test(file.name) ? 'application/xml' : 'text/csv' };
    setResults(
      await take(api.POST('/v1/payouts/results', { params, body: '', headers, bodySerializer: () => file })),
    );
    if (!dryRun) onRecorded();
  });
  return (
    <Card
      title="Payment results"
      note="Upload the result file of the bank or PayPal. It is checked first; nothing is recorded until you confirm."
    >
      <div class="stack">
        <FileField
          label="CSV with payment_key (optional: status, amount, currency, reason), pain.002 or camt.054"
          accept=".csv,.xml,text/csv,application/xml"
          onFile={(chosen) => {
            setFile(chosen);
            void run(chosen, true);
          }}
        />
        <Problem error={error} />
        {results && (
          <>
            <Table
              label="Results"
              rows={results.rows}
              rowKey={({ line, payment_key }) => `${line} ${payment_key}`}
              columns={[
                { title: 'Line', numeric: true, cell: ({ line }) => formatCount(line) },
                { title: 'Payment', head: true, cell: ({ payment_key }) => <code>{payment_key}</code> },
                { title: 'Payout', cell: ({ payout_id }) => payout_id ?? '–' },
                { title: 'Outcome', cell: ({ outcome }) => words(outcome) },
                { title: 'Detail', cell: ({ detail }) => detail ?? '' },
              ]}
            />
            {results.dry_run ? (
              <div class="form-end">
                <Button kind="primary" busy={busy} onClick={() => file && void run(file, false)}>
                  Record {formatCount(results.recorded)} results
                </Button>
              </div>
            ) : (
              <p class="notice good" role="status">
                {formatCount(results.recorded)} results recorded.
              </p>
            )}
          </>
        )}
      </div>
    </Card>
  );
}
