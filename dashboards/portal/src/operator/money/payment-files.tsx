import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { formatCount, providerName, ZONE_NAME } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Amount, Button, Card, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form } from '../../ui/forms.tsx';
import { ListTable } from '../../ui/table.tsx';

type PayoutFile = Schemas['PayoutFile'];

const NAMED = ['users', 'keys'] as const;
const EVERY_MS = 10_000;
const PAGE_ROWS = 10;

/** Files of payouts for the bank or PayPal, with who has downloaded them. */
export function PaymentFiles() {
  const { program } = useSession();
  const [again, setAgain] = useState<PayoutFile>();
  const names = useNames(NAMED);
  const nameOf = (actor: string) => names.get(actor) ?? actor;
  const list = useList((query, signal) => api.GET('/v1/payout-files', { params: { query }, signal }), {
    query: { program_id: program.id },
    prefix: 'file_',
    everyMs: EVERY_MS,
    pageRows: PAGE_ROWS,
  });
  const { run, busy, error } = useAction(async (file: PayoutFile, isAgain: boolean) => {
    await download(file.id, isAgain);
    setAgain(undefined);
    list.reload();
  });
  if (list.rows?.length === 0) return null;
  return (
    <Card title={t('paymentFiles.payment_files')} note={t('paymentFiles.download_each_file_once_and')}>
      <Problem error={again ? undefined : error} />
      <ListTable
        label={t('paymentFiles.payment_files')}
        list={list}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          {
            title: t('common.file'),
            head: true,
            cell: ({ provider, id, run_id }) => (
              <>
                {providerName(provider)}
                <span class="sub">{t('paymentFiles.id_of_runid', { id, runId: run_id })}</span>
              </>
            ),
          },
          {
            title: t('common.created_zone', { zone: ZONE_NAME }),
            cell: ({ created_at }) => <When at={created_at} />,
          },
          { title: t('common.payouts'), numeric: true, cell: ({ payouts }) => formatCount(payouts) },
          {
            title: t('paymentFiles.total'),
            numeric: true,
            cell: ({ total }) => <Amount money={total} strong />,
          },
          {
            title: t('paymentFiles.downloaded'),
            cell: ({ downloads }) => <Downloads downloads={downloads} nameOf={nameOf} />,
          },
          {
            title: '',
            cell: (file) => (
              <div class="actions">
                <Button
                  busy={busy}
                  label={t('paymentFiles.download_file', { file: file.id })}
                  onClick={() =>
                    file.downloads.length === 0 && file.ended === 0 ? void run(file, false) : setAgain(file)
                  }
                >
                  {t('common.download')}
                </Button>
              </div>
            ),
          },
        ]}
      />
      {again && (
        <Dialog
          title={
            again.downloads.length > 0
              ? t('paymentFiles.download_the_file_again')
              : t('paymentFiles.download_an_old_file')
          }
          onClose={() => setAgain(undefined)}
        >
          <Form
            submit={again.downloads.length > 0 ? t('paymentFiles.download_again') : t('common.download')}
            kind="danger"
            busy={busy}
            error={error}
            onSubmit={() => void run(again, true)}
            onCancel={() => setAgain(undefined)}
          >
            <p>
              {again.downloads.length > 0
                ? rich('paymentFiles.by_downloaded_it_on_at', {
                    by: nameOf(again.downloads.at(-1)?.by ?? ''),
                    at: <When at={again.downloads.at(-1)?.at ?? null} />,
                  })
                : t('paymentFiles.payouts_of_it_are_paid')}
            </p>
          </Form>
        </Dialog>
      )}
    </Card>
  );
}

function Downloads({
  downloads,
  nameOf,
}: Pick<PayoutFile, 'downloads'> & { nameOf: (actor: string) => string }) {
  const last = downloads.at(-1);
  if (!last) return <span class="muted">{t('paymentFiles.not_yet')}</span>;
  return (
    <>
      <When at={last.at} />
      <span class="sub">
        {t('paymentFiles.downloads_by', { by: nameOf(last.by), count: downloads.length })}
      </span>
    </>
  );
}

/** Asks for the file, which is recorded, and hands it to the browser. */
async function download(id: string, again: boolean): Promise<void> {
  const params = { path: { id }, header: newAttempt() };
  const { files } = await take(api.POST('/v1/payout-files/{id}/download', { params, body: { again } }));
  for (const { name, media_type, text } of files) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: media_type }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }
}
