import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, CopyText, Empty, Page, Problem, When } from '../basics.tsx';
import { Check, Dialog, Form, TextField } from '../forms.tsx';
import { Status } from '../status.tsx';
import { ListTable } from '../table.tsx';
import { Deliveries } from './deliveries.tsx';
import { EditPostback, NewPostback } from './new-postback.tsx';

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
  const list = useList((query, signal) => api.GET('/v1/webhooks', { params: { query }, signal }), {
    query: { program_id: program.id },
    prefix: 'hook_',
    everyMs: EVERY_MS,
  });
  const selected = list.rows?.find(({ id }) => id === shown) ?? list.rows?.[0];
  const make = (
    <>
      {user.role !== 'advertiser' && (
        <Button kind="primary" onClick={() => setMaking('postback')}>
          {t('common.new_postback')}
        </Button>
      )}
      <Button onClick={() => setMaking('webhook')}>{t('webhooks.new_webhook')}</Button>
    </>
  );
  const made = (signingSecret: string): void => {
    setMaking(undefined);
    setSecret(signingSecret);
    list.reload();
  };
  return (
    <Page
      title={t('common.postbacks_and_webhooks')}
      lead={t('webhooks.postbacks_tell_a_tracker_of')}
      actions={make}
    >
      <Card title={t('common.postbacks_and_webhooks')}>
        <ListTable
          label={t('common.postbacks_and_webhooks')}
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('webhooks.no_postbacks_or_webhooks_yet')}>
              {t('webhooks.add_the_postback_url_of')}
            </Empty>
          }
          columns={[
            {
              title: t('common.address'),
              head: true,
              cell: (hook) => (
                <>
                  <span class="break">{hook.url}</span>
                  <span class="sub">
                    {aboutOf(hook)}
                    {hook.affiliate_id !== null && user.affiliate_id === null && (
                      <>
                        ,{' '}
                        {t('webhooks.of_partner', {
                          name: names.get(hook.affiliate_id) ?? hook.affiliate_id,
                        })}
                      </>
                    )}
                  </span>
                </>
              ),
            },
            {
              title: t('common.status'),
              cell: ({ status, disabled_reason, failing_since }) => (
                <>
                  <Status of={status} />
                  {disabled_reason && <span class="sub">{disabled_reason}</span>}
                  {failing_since && (
                    <span class="sub">
                      {rich('webhooks.failing_since_failingsince', {
                        failingSince: <When at={failing_since} />,
                      })}
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
        <Dialog title={t('webhooks.the_signing_secret')} onClose={() => setSecret(undefined)}>
          <div class="stack">
            <p>{t('webhooks.copy_the_secret_now_it')}</p>
            <CopyText text={secret} label={t('common.the_secret')} />
          </div>
        </Dialog>
      )}
    </Page>
  );
}

/** Its kind, and what it receives. */
function aboutOf({ kind, method, events, statuses, event_names }: Schemas['Webhook']): string {
  if (kind === 'webhook') {
    const received = events.length === 0 ? t('webhooks.all_events') : events.join(', ');
    return t('webhooks.webhook_of', { events: received });
  }
  const parts = [
    statuses.length === 0
      ? t('webhooks.all_statuses')
      : statuses.map((status) => words(status).toLowerCase()).join(', '),
    ...(event_names.length === 0 ? [] : [event_names.join(', ')]),
  ];
  return t('webhooks.postback_by', { method, about: parts.join('; ') });
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
  const [asked, setAsked] = useState<'edit' | 'delete'>();
  const isActive = hook.status === 'active';
  return (
    <>
      <div class="actions">
        <Button onClick={props.onShow}>{t('webhooks.log')}</Button>
        {isActive && (
          <Button onClick={() => void test.run()} busy={test.busy}>
            {t('webhooks.send_a_test')}
          </Button>
        )}
        <Button onClick={() => void rotate.run()} busy={rotate.busy}>
          {t('webhooks.new_secret')}
        </Button>
        <Button onClick={() => void toggle.run()} busy={toggle.busy}>
          {isActive ? t('common.disable') : t('common.enable')}
        </Button>
        {hook.kind === 'outgoing_postback' && (
          <Button onClick={() => setAsked('edit')}>{t('common.edit')}</Button>
        )}
        <Button onClick={() => setAsked('delete')}>{t('webhooks.delete')}</Button>
      </div>
      <Problem error={test.error ?? toggle.error ?? rotate.error} />
      {asked === 'edit' && (
        <EditPostback
          hook={hook}
          onClose={() => setAsked(undefined)}
          onSaved={() => {
            setAsked(undefined);
            props.onChanged();
          }}
        />
      )}
      {asked === 'delete' && (
        <Delete hook={hook} onClose={() => setAsked(undefined)} onDeleted={props.onChanged} />
      )}
    </>
  );
}

/** Its deliveries and their log go with it, so it is asked for. */
function Delete(props: { hook: Schemas['Webhook']; onClose: () => void; onDeleted: () => void }) {
  const { hook, onClose } = props;
  const { run, busy, error } = useAction(async () => {
    await take(api.DELETE('/v1/webhooks/{id}', { params: { path: { id: hook.id } } }));
    onClose();
    props.onDeleted();
  });
  return (
    <Dialog title={t('webhooks.delete_question')} onClose={onClose}>
      <Form
        submit={t('webhooks.delete')}
        kind="danger"
        busy={busy}
        error={error}
        onSubmit={() => void run()}
        onCancel={onClose}
      >
        <p class="break">{hook.url}</p>
        <p>{t('webhooks.nothing_more_is_sent_there')}</p>
      </Form>
    </Dialog>
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
    <Dialog title={t('webhooks.new_webhook')} onClose={onClose}>
      <Form
        submit={t('webhooks.create_webhook')}
        busy={busy}
        error={faults.url ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('webhooks.address_of_your_server')}
          type="url"
          value={url}
          onChange={setUrl}
          fault={faults.url}
          hint={t('webhooks.a_public_https_address_that')}
          required
        />
        <fieldset class="stack">
          <legend>{t('common.events')}</legend>
          {offered.map((event) => (
            <Check
              key={event}
              label={words(event.replace('.', '_'))}
              checked={events.includes(event)}
              onChange={(checked) =>
                setEvents(checked ? [...events, event] : events.filter((other) => other !== event))
              }
            />
          ))}
          <p class="hint">{t('webhooks.none_selected_all_events')}</p>
        </fieldset>
      </Form>
    </Dialog>
  );
}
