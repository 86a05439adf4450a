import { useState } from 'preact/hooks';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { formatCount, words } from '../../text/format.ts';
import { t } from '../../text/t.ts';
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
    <Card title={t('paymentResults.payment_results')} note={t('paymentResults.upload_the_result_file_of')}>
      <div class="stack">
        <FileField
          label={t('paymentResults.csv_with_payment_key_optional')}
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
              label={t('paymentResults.results')}
              rows={results.rows}
              rowKey={({ line, payment_key }) => `${line} ${payment_key}`}
              columns={[
                { title: t('common.line'), numeric: true, cell: ({ line }) => formatCount(line) },
                {
                  title: t('common.payment'),
                  head: true,
                  cell: ({ payment_key }) => <code>{payment_key}</code>,
                },
                { title: t('common.payout'), cell: ({ payout_id }) => payout_id ?? '–' },
                { title: t('common.outcome'), cell: ({ outcome }) => words(outcome) },
                { title: t('paymentResults.detail'), cell: ({ detail }) => detail ?? '' },
              ]}
            />
            {results.dry_run ? (
              <div class="form-end">
                <Button kind="primary" busy={busy} onClick={() => file && void run(file, false)}>
                  {t('paymentResults.record', { count: results.recorded })}
                </Button>
              </div>
            ) : (
              <p class="notice good" role="status">
                {t('paymentResults.recorded', { count: results.recorded })}
              </p>
            )}
          </>
        )}
      </div>
    </Card>
  );
}
