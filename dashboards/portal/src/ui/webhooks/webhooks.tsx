import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { usePages } from '../../data/use-pages.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, CopyText, Empty, Page, Problem, When } from '../basics.tsx';
import { Check, Dialog, Form, TextField } from '../forms.tsx';
import { Status } from '../status.tsx';
import { ListTable } from '../table.tsx';
import { Deliveries } from './deliveries.tsx';
import { NewPostback } from './new-postback.tsx';

/** Webhooks and outgoing postbacks of a partner or a program, with their deliveries. */

export const EVENTS = [
  'conversion.created',
  'conversion.changed',
  'conversion.confirmed',
  'conversion.paid',
  'payout.created',
  'payout.changed',
  'affiliate.created',
  'affiliate.status_changed',
] as const;
const EVERY_MS = 5_000;

export function WebhooksPage() {
  const { program, user } = useSession();
  const [making, setMaking] = useState<'webhook' | 'postback'>();
  const names = useNames();
  const [secret, setSecret] = useState<string>();
  const [shown, setShown] = useState<string>();
  const list = usePages(
    (cursor, signal) =>
      api.GET('/v1/webhooks', { params: { query: { program_id: program.id, cursor } }, signal }),
    [program.id],
    EVERY_MS,
  );
  const selected = list.rows?.find(({ id }) => id === shown) ?? list.rows?.[0];
  const make = (
    <>
      {user.role !== 'advertiser' && (
        <Button kind="primary" onClick={() => setMaking('postback')}>
          New postback
        </Button>
      )}
      <Button onClick={() => setMaking('webhook')}>New webhook</Button>
    </>
  );
  const made = (signingSecret: string): void => {
    setMaking(undefined);
    setSecret(signingSecret);
    list.reload();
  };
  return (
    <Page
      title="Postbacks and webhooks"
      lead="Postbacks tell a tracker of orders by a URL with macros; webhooks send events to a server as JSON. Both are signed, and retried until they are accepted."
      actions={make}
    >
      <Card title="Postbacks and webhooks">
        <ListTable
          label="Postbacks and webhooks"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No postbacks or webhooks yet">
              Add the postback URL of a tracker, or the address of a server, to receive orders within seconds.
            </Empty>
          }
          columns={[
            {
              title: 'Address',
              head: true,
              cell: (hook) => (
                <>
                  <span class="break">{hook.url}</span>
                  <span class="sub">
                    {aboutOf(hook)}
                    {hook.affiliate_id !== null && user.affiliate_id === null && (
                      <>, of {names.get(hook.affiliate_id) ?? hook.affiliate_id}</>
                    )}
                  </span>
                </>
              ),
            },
            {
              title: 'Status',
              cell: ({ status, disabled_reason, failing_since }) => (
                <>
                  <Status of={status} />
                  {disabled_reason && <span class="sub">{disabled_reason}</span>}
                  {failing_since && (
                    <span class="sub">
                      failing since <When at={failing_since} />
                    </span>
                  )}
                </>
              ),
            },
            {
              title: '',
              cell: (hook) => (
                <Controls
                  hook={hook}
                  onShow={() => setShown(hook.id)}
                  onChanged={list.reload}
                  onSecret={setSecret}
                />
              ),
            },
          ]}
        />
      </Card>
      {selected && <Deliveries key={selected.id} hook={selected} />}
      {making === 'webhook' && <NewWebhook onClose={() => setMaking(undefined)} onMade={made} />}
      {making === 'postback' && <NewPostback onClose={() => setMaking(undefined)} onMade={made} />}
      {secret !== undefined && (
        <Dialog title="The signing secret" onClose={() => setSecret(undefined)}>
          <div class="stack">
            <p>
              Copy the secret now. It is shown once. Any Standard Webhooks library verifies signatures with
              it; a tracker that verifies none does not need it.
            </p>
            <CopyText text={secret} label="the secret" />
          </div>
        </Dialog>
      )}
    </Page>
  );
}

/** Its kind, and what it receives. */
function aboutOf({ kind, method, events, statuses, event_names }: Schemas['Webhook']): string {
  if (kind === 'webhook') return `Webhook, ${events.length === 0 ? 'all events' : events.join(', ')}`;
  const parts = [
    statuses.length === 0 ? 'all statuses' : statuses.join(', '),
    ...(event_names.length === 0 ? [] : [event_names.join(', ')]),
  ];
  return `Postback by ${method}, ${parts.join('; ')}`;
}

function Controls(props: {
  hook: Schemas['Webhook'];
  onShow: () => void;
  onChanged: () => void;
  onSecret: (secret: string) => void;
}) {
  const { hook } = props;
  const path = { id: hook.id };
  const test = useAction(async () => {
    await take(api.POST('/v1/webhooks/{id}/test', { params: { path } }));
    props.onShow();
  });
  const toggle = useAction(async () => {
    const status = hook.status === 'active' ? 'disabled' : 'active';
    await take(api.PATCH('/v1/webhooks/{id}', { params: { path }, body: { status } }));
    props.onChanged();
  });
  const rotate = useAction(async () => {
    const params = { path, header: newAttempt() };
    props.onSecret((await take(api.POST('/v1/webhooks/{id}/rotate-secret', { params }))).secret);
  });
  const isActive = hook.status === 'active';
  return (
    <>
      <div class="actions">
        <Button onClick={props.onShow}>Log</Button>
        {isActive && (
          <Button onClick={() => void test.run()} busy={test.busy}>
            Send a test
          </Button>
        )}
        <Button onClick={() => void rotate.run()} busy={rotate.busy}>
          New secret
        </Button>
        <Button onClick={() => void toggle.run()} busy={toggle.busy}>
          {isActive ? 'Disable' : 'Enable'}
        </Button>
      </div>
      <Problem error={test.error ?? toggle.error ?? rotate.error} />
    </>
  );
}

function NewWebhook({ onClose, onMade }: { onClose: () => void; onMade: (secret: string) => void }) {
  const { program, user } = useSession();
  const offered = EVENTS.filter((event) => user.affiliate_id === null || !event.startsWith('affiliate.'));
  const [attempt] = useState(newAttempt);
  const [url, setUrl] = useState('https://');
  const [events, setEvents] = useState<readonly (typeof EVENTS)[number][]>([]);
  const { run, busy, error } = useAction(async () => {
    const body = { program_id: program.id, url, ...(events.length > 0 && { events: [...events] }) };
    onMade((await take(api.POST('/v1/webhooks', { params: { header: attempt }, body }))).secret);
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title="New webhook" onClose={onClose}>
      <Form
        submit="Create webhook"
        busy={busy}
        error={faults.url ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label="Address of your server"
          type="url"
          value={url}
          onChange={setUrl}
          fault={faults.url}
          hint="A public https address that answers 200 within ten seconds."
          required
        />
        <fieldset class="stack">
          <legend>Events</legend>
          {offered.map((event) => (
            <Check
              key={event}
              label={words(event.replace('.', ' '))}
              checked={events.includes(event)}
              onChange={(checked) =>
                setEvents(checked ? [...events, event] : events.filter((other) => other !== event))
              }
            />
          ))}
          <p class="hint">None selected: all events.</p>
        </fieldset>
      </Form>
    </Dialog>
  );
}
