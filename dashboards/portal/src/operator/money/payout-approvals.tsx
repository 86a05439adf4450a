import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { actorOf, useNames } from '../../data/use-names.ts';
import { byProvider, formatMoney } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Amount, Button, Card, When } from '../../ui/basics.tsx';
import { Dialog, Form, TextField } from '../../ui/forms.tsx';
import { ListTable } from '../../ui/table.tsx';

type Run = Schemas['PayoutRun'];

const NAMED = ['users', 'keys'] as const;
const EVERY_MS = 10_000;

/** Runs that wait for a second person; nothing where there are none. */
export function PayoutApprovals({ onDecided }: { onDecided: () => void }) {
  const { program, user } = useSession();
  const [asking, setAsking] = useState<{ run: Run; verb: 'approve' | 'reject' }>();
  const names = useNames(NAMED);
  const list = useList((query, signal) => api.GET('/v1/payout-runs', { params: { query }, signal }), {
    query: { program_id: program.id, state: 'awaiting_approval' },
    prefix: 'run_',
    everyMs: EVERY_MS,
  });
  if (list.error === undefined && (list.rows ?? []).length === 0) return null;
  const ownActor = actorOf(user.id);
  return (
    <Card
      title={t('payoutApprovals.runs_awaiting_approval')}
      note={t('payoutApprovals.somebody_else_than_who_started')}
    >
      <ListTable
        label={t('payoutApprovals.runs_awaiting_approval')}
        list={list}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          {
            title: t('payoutApprovals.run'),
            head: true,
            cell: ({ id, total, payouts, started_by, started_at }) => (
              <>
                {id}: <Amount money={total} strong />
                <span class="sub">
                  {rich('payoutApprovals.payouts_started_by', {
                    count: payouts,
                    by:
                      started_by === ownActor
                        ? t('payoutApprovals.you')
                        : (names.get(started_by) ?? started_by),
                    at: <When at={started_at} />,
                  })}
                </span>
              </>
            ),
          },
          {
            title: '',
            cell: (run) => (
              <div class="actions">
                {run.started_by !== ownActor && (
                  <Button
                    label={t('payoutApprovals.approve_named', { run: run.id })}
                    kind="primary"
                    onClick={() => setAsking({ run, verb: 'approve' })}
                  >
                    {t('common.approve')}
                  </Button>
                )}
                <Button
                  label={t('payoutApprovals.reject_named', { run: run.id })}
                  onClick={() => setAsking({ run, verb: 'reject' })}
                >
                  {t('common.reject')}
                </Button>
              </div>
            ),
          },
        ]}
      />
      {asking && (
        <Decision
          {...asking}
          onClose={() => setAsking(undefined)}
          onDone={() => {
            list.reload();
            onDecided();
          }}
        />
      )}
    </Card>
  );
}

function Decision(props: { run: Run; verb: 'approve' | 'reject'; onClose: () => void; onDone: () => void }) {
  const { run, verb, onClose, onDone } = props;
  const [reason, setReason] = useState('');
  const [leftOut, setLeftOut] = useState(0);
  const params = { path: { id: run.id }, header: newAttempt() };
  const decide = useAction(async () => {
    if (verb === 'reject') {
      await take(api.POST('/v1/payout-runs/{id}/reject', { params, body: { reason } }));
    } else {
      const { left_out } = await take(api.POST('/v1/payout-runs/{id}/approve', { params }));
      setLeftOut(left_out.length);
      if (left_out.length > 0) return onDone();
    }
    onClose();
    onDone();
  });
  const isApproval = verb === 'approve';
  const total = <Amount money={run.total} strong />;
  return (
    <Dialog
      title={
        isApproval
          ? t('payoutApprovals.approve_named', { run: run.id })
          : t('payoutApprovals.reject_named', { run: run.id })
      }
      onClose={onClose}
    >
      {leftOut > 0 ? (
        <p class="notice warn" role="status">
          <span>{t('payoutApprovals.left_out', { count: leftOut })}</span>
        </p>
      ) : (
        <Form
          submit={
            isApproval
              ? t('common.pay_total', { total: formatMoney(run.total) })
              : t('payoutApprovals.reject_the_run')
          }
          kind={isApproval ? 'primary' : 'danger'}
          busy={decide.busy}
          error={decide.error}
          onSubmit={() => void decide.run()}
          onCancel={onClose}
        >
          <p>
            {isApproval
              ? rich('payoutApprovals.approve_what', {
                  count: run.payouts,
                  total,
                  provider: byProvider(run.provider),
                })
              : rich('payoutApprovals.reject_what', { count: run.payouts, total })}
          </p>
          {!isApproval && (
            <TextField
              label={t('payoutApprovals.reason_which_the_partners_see')}
              value={reason}
              onChange={setReason}
              max={200}
              required
            />
          )}
        </Form>
      )}
    </Dialog>
  );
}
