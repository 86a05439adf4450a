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

/** A postback to the tracker of a partner; an operator makes it for one partner or for the program. */
export function NewPostback({ onClose, onMade }: { onClose: () => void; onMade: (secret: string) => void }) {
  const { program, user } = useSession();
  const names = useNames();
  const [attempt] = useState(newAttempt);
  const [url, setUrl] = useState('https://');
  const [method, setMethod] = useState('GET');
  const [owner, setOwner] = useState('');
  const [statuses, setStatuses] = useState<readonly Status[]>([]);
  const [events, setEvents] = useState<readonly string[]>([]);
  const { run, busy, error } = useAction(async () => {
    const body = {
      kind: 'outgoing_postback' as const,
      program_id: program.id,
      url,
      method: method as 'GET' | 'POST',
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
        <MacroUrl
          label={t('newPostback.postback_url_of_the_tracker')}
          value={url}
          onChange={setUrl}
          fault={faults.url}
          hint={t('newPostback.a_public_https_address_with', { example: EXAMPLE })}
          macros={POSTBACK_MACROS}
          summary={t('newPostback.macros_replaced_at_each_postback')}
          about={ABOUT}
        />
        <Select label={t('newPostback.method')} value={method} onChange={setMethod} choices={METHODS} />
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
        <Choices label={t('newPostback.statuses')} all={STATUSES} chosen={statuses} onChange={setStatuses} />
        {program.events.length > 1 && (
          <Choices label={t('common.events')} all={program.events} chosen={events} onChange={setEvents} />
        )}
      </Form>
    </Dialog>
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
