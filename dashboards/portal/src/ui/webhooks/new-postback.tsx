import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { POSTBACK_MACROS } from '../../../../../core/links/postback-macros.ts';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Check, Dialog, Form, Select } from '../forms.tsx';
import { MacroUrl } from '../macro-url.tsx';

type Status = Schemas['Conversion']['status'];

const STATUSES: readonly Status[] = ['pending', 'confirmed', 'paid', 'rejected'];
const EXAMPLE = '?cid={sub1}&payout={commission}&status={status}';
const METHODS = [
  { value: 'GET', text: 'GET' },
  { value: 'POST', text: t('newPostback.post_as_a_form') },
];
const ABOUT: Readonly<Record<string, string>> = {
  click_id: t('newPostback.click_id_of_the_order'),
  amount: t('newPostback.order_value_less_refunds_such'),
  commission: t('newPostback.what_you_earn_by_the'),
  order_ref: t('newPostback.order_number'),
  event: t('newPostback.sale_lead_or_another_event'),
  status: t('newPostback.pending_confirmed_paid_or_rejected'),
  time: t('newPostback.time_of_the_order_unix'),
};

interface PostbackFields {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly statuses: readonly Status[];
  readonly events: readonly string[];
}

/** A postback to the tracker of a partner; an operator makes it for one partner or for the program. */
export function NewPostback({ onClose, onMade }: { onClose: () => void; onMade: (secret: string) => void }) {
  const { program, user } = useSession();
  const names = useNames();
  const [attempt] = useState(newAttempt);
  const [fields, setFields] = useState<PostbackFields>({
    url: 'https://',
    method: 'GET',
    statuses: [],
    events: [],
  });
  const [owner, setOwner] = useState('');
  const { run, busy, error } = useAction(async () => {
    const { url, method, statuses, events } = fields;
    const body = {
      kind: 'outgoing_postback' as const,
      program_id: program.id,
      url,
      method,
      ...(owner !== '' && { affiliate_id: owner }),
      ...(statuses.length > 0 && { statuses: [...statuses] }),
      ...(events.length > 0 && { event_names: [...events] }),
    };
    onMade((await take(api.POST('/v1/webhooks', { params: { header: attempt }, body }))).secret);
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title={t('common.new_postback')} onClose={onClose}>
      <Form
        submit={t('newPostback.create_postback')}
        busy={busy}
        error={faults.url ? undefined : error}
        onSubmit={() => void run()}
      >
        <Fields fields={fields} onChange={setFields} fault={faults.url}>
          {user.affiliate_id === null && (
            <Select
              label={t('common.for')}
              value={owner}
              onChange={setOwner}
              choices={[
                { value: '', text: t('newPostback.the_program_orders_of_all') },
                ...[...names].map(([value, text]) => ({ value, text })),
              ]}
            />
          )}
        </Fields>
      </Form>
    </Dialog>
  );
}

/** Changes what is sent to a tracker, and where; its partner stays. */
export function EditPostback(props: { hook: Schemas['Webhook']; onClose: () => void; onSaved: () => void }) {
  const { hook, onClose, onSaved } = props;
  const [fields, setFields] = useState<PostbackFields>({
    url: hook.url,
    method: hook.method,
    statuses: STATUSES.filter((status) => hook.statuses.includes(status)),
    events: hook.event_names,
  });
  const { run, busy, error } = useAction(async () => {
    const { url, method, statuses, events } = fields;
    const params = { path: { id: hook.id } };
    const body = {
      // Who changes the address answers for it: one that stays is not sent.
      ...(url !== hook.url && { url }),
      method,
      statuses: [...statuses],
      event_names: [...events],
    };
    await take(api.PATCH('/v1/webhooks/{id}', { params, body }));
    onSaved();
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title={t('newPostback.edit_postback')} onClose={onClose}>
      <Form
        submit={t('common.save')}
        busy={busy}
        error={faults.url ? undefined : error}
        onSubmit={() => void run()}
      >
        <Fields fields={fields} onChange={setFields} fault={faults.url} />
      </Form>
    </Dialog>
  );
}

function Fields(props: {
  fields: PostbackFields;
  onChange: (fields: PostbackFields) => void;
  fault: string | undefined;
  children?: ComponentChildren;
}) {
  const { program } = useSession();
  const { fields, onChange, fault } = props;
  const { url, method, statuses, events } = fields;
  return (
    <>
      <MacroUrl
        label={t('newPostback.postback_url_of_the_tracker')}
        value={url}
        onChange={(value) => onChange({ ...fields, url: value })}
        fault={fault}
        hint={t('newPostback.a_public_https_address_with', { example: EXAMPLE })}
        macros={POSTBACK_MACROS}
        summary={t('newPostback.macros_replaced_at_each_postback')}
        about={ABOUT}
      />
      <Select
        label={t('newPostback.method')}
        value={method}
        onChange={(value) => onChange({ ...fields, method: value === 'POST' ? 'POST' : 'GET' })}
        choices={METHODS}
      />
      {props.children}
      <Choices
        label={t('newPostback.statuses')}
        all={STATUSES}
        chosen={statuses}
        onChange={(chosen) => onChange({ ...fields, statuses: chosen })}
      />
      {program.events.length > 1 && (
        <Choices
          label={t('common.events')}
          all={program.events}
          chosen={events}
          onChange={(chosen) => onChange({ ...fields, events: chosen })}
        />
      )}
    </>
  );
}

function Choices<Name extends string>(props: {
  label: string;
  all: readonly Name[];
  chosen: readonly Name[];
  onChange: (chosen: readonly Name[]) => void;
}) {
  const { label, all, chosen, onChange } = props;
  return (
    <fieldset class="stack">
      <legend>{label}</legend>
      {all.map((name) => (
        <Check
          key={name}
          label={words(name)}
          checked={chosen.includes(name)}
          onChange={(checked) =>
            onChange(checked ? [...chosen, name] : chosen.filter((other) => other !== name))
          }
        />
      ))}
      <p class="hint">{t('newPostback.none_selected_all')}</p>
    </fieldset>
  );
}
