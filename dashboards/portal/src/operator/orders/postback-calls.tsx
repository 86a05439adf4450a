import { useState } from 'preact/hooks';
import { Link, useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Segments, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';

type Call = Schemas['PostbackCall'];

const EVERY_MS = 5_000;
const PAGE_ROWS = 25;
const OUTCOMES = [
  { value: '', text: 'All' },
  { value: 'accepted', text: 'Accepted' },
  { value: 'duplicate', text: 'Duplicates' },
  { value: 'rejected', text: 'Refused' },
  { value: 'ignored', text: 'Ignored' },
];

/** Calls of the shop with their answers, refused ones included. */
export function PostbackCallsPage() {
  const { program } = useSession();
  const [outcome, setOutcome] = useParameter('outcome');
  const [order, setOrder] = useParameter('order');
  const [shown, setShown] = useState<Call>();
  const list = usePages(
    (cursor, signal) => {
      const query = {
        program_id: program.id,
        limit: PAGE_ROWS,
        cursor,
        ...(outcome !== '' && { outcome: outcome as Call['outcome'] }),
        ...(order !== '' && { order_id: order }),
      };
      return api.GET('/v1/postback-calls', { params: { query }, signal });
    },
    [program.id, outcome, order],
    EVERY_MS,
  );
  return (
    <Page
      title="Postback calls"
      lead="Calls of the shop in the last 90 days, with their answers. Replay a refused call after correcting the cause."
    >
      <Card>
        <div class="filters above">
          <Segments label="Outcome" value={outcome} onChange={setOutcome} choices={OUTCOMES} />
          <TextField label="Order" type="search" value={order} onChange={setOrder} />
        </div>
        <ListTable
          label="Postback calls"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No calls">
              <Link to="/connect">Connect</Link> what sends the orders; its calls appear here.
            </Empty>
          }
          columns={[
            { title: `At (${ZONE_NAME})`, cell: ({ received_at }) => <When at={received_at} /> },
            { title: 'By', cell: ({ via }) => words(via) },
            { title: 'Order', head: true, cell: ({ order_id }) => order_id ?? '–' },
            {
              title: 'Answer',
              cell: ({ outcome: one, status }) => <Status of={one} text={`${words(one)} (${status})`} />,
            },
            {
              title: 'Why',
              cell: ({ code, detail }) =>
                code === null ? (
                  ''
                ) : (
                  <>
                    {words(code)}
                    <span class="sub">{detail}</span>
                  </>
                ),
            },
            {
              title: '',
              cell: (call) => (
                <div class="actions">
                  <Button onClick={() => setShown(call)} label={`Open call ${call.id}`}>
                    Open
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown && <Details call={shown} onClose={() => setShown(undefined)} onReplayed={list.reload} />}
    </Page>
  );
}

function Details({ call, onClose, onReplayed }: { call: Call; onClose: () => void; onReplayed: () => void }) {
  const [result, setResult] = useState<Schemas['ReplayedCall']>();
  const { run, busy, error } = useAction(async () => {
    setResult(await take(api.POST('/v1/postback-calls/{id}/replay', { params: { path: { id: call.id } } })));
    onReplayed();
  });
  return (
    <Dialog title={`Call ${call.id}`} onClose={onClose}>
      <div class="stack">
        <dl class="facts">
          <dt>From</dt>
          <dd>
            {call.ip ?? 'unknown'}, {call.actor ?? 'unknown caller'}
          </dd>
          <dt>Answer</dt>
          <dd>
            {call.status} {call.detail ?? words(call.outcome)}
          </dd>
          <dt>Request</dt>
          <dd>
            <code>{call.request_id}</code>
          </dd>
          <dt>Conversion</dt>
          <dd>{call.conversion_id ?? 'none'}</dd>
        </dl>
        <h3>Request body</h3>
        <pre>{JSON.stringify(call.params, null, 2)}</pre>
        <Problem error={error} />
        {result && (
          <p class="notice good" role="status">
            Replayed: {words(result.status)}, {result.conversion_id}.
          </p>
        )}
        <div class="form-end">
          <Button onClick={() => void run()} busy={busy}>
            Replay
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
