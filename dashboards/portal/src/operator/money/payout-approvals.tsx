import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { formatCount, formatMoney, providerName } from '../../text/format.ts';
import { Amount, Button, Card, When } from '../../ui/basics.tsx';
import { Dialog, Form, TextField } from '../../ui/forms.tsx';
import { ListTable } from '../../ui/table.tsx';

type Run = Schemas['PayoutRun'];

const EVERY_MS = 10_000;
const PAGE_ROWS = 25;

/** Runs that wait for a second person; nothing where there are none. */
export function PayoutApprovals({ onDecided }: { onDecided: () => void }) {
  const { program, user } = useSession();
  const [asking, setAsking] = useState<{ run: Run; verb: 'approve' | 'reject' }>();
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: program.id, state: 'awaiting_approval', limit: PAGE_ROWS, cursor } as const;
      return api.GET('/v1/payout-runs', { params: { query }, signal });
    },
    [program.id],
    EVERY_MS,
  );
  if (list.error === undefined && (list.rows ?? []).length === 0) return null;
  const ownActor = `user:${user.id.replace('usr_', '')}`;
  return (
    <Card
      title="Runs awaiting approval"
      note="Somebody else than who started a run approves it. Until then nothing is handed over."
    >
      <ListTable
        label="Runs awaiting approval"
        list={list}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          {
            title: 'Run',
            head: true,
            cell: ({ id, total, payouts, started_by, started_at }) => (
              <>
                {id}: <Amount money={total} strong />
                <span class="sub">
                  {formatCount(payouts)} {payouts === 1 ? 'payout' : 'payouts'}, started by{' '}
                  {started_by === ownActor ? 'you' : started_by}, <When at={started_at} />
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
                    label={`Approve ${run.id}`}
                    kind="primary"
                    onClick={() => setAsking({ run, verb: 'approve' })}
                  >
                    Approve
                  </Button>
                )}
                <Button label={`Reject ${run.id}`} onClick={() => setAsking({ run, verb: 'reject' })}>
                  Reject
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
  return (
    <Dialog title={`${isApproval ? 'Approve' : 'Reject'} ${run.id}`} onClose={onClose}>
      {leftOut > 0 ? (
        <p class="notice warn" role="status">
          <span>
            {formatCount(leftOut)} payouts were left out, because you had set where they go. The next run
            builds them again, for somebody else to approve.
          </span>
        </p>
      ) : (
        <Form
          submit={isApproval ? `Pay ${formatMoney(run.total)}` : 'Reject the run'}
          kind={isApproval ? 'primary' : 'danger'}
          busy={decide.busy}
          error={decide.error}
          onSubmit={() => void decide.run()}
          onCancel={onClose}
        >
          <p>
            {formatCount(run.payouts)} payouts of <Amount money={run.total} strong /> in total,{' '}
            {isApproval
              ? `are handed over by ${providerName(run.provider).toLowerCase()}.`
              : 'are canceled; their money is available again.'}
          </p>
          {!isApproval && (
            <TextField
              label="Reason, which the partners see"
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
