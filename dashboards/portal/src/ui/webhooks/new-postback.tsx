import { useState } from 'preact/hooks';
import { POSTBACK_MACROS } from '../../../../../core/links/postback-macros.ts';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Check, Dialog, Form, Select } from '../forms.tsx';
import { MacroUrl } from '../macro-url.tsx';

type Status = Schemas['Conversion']['status'];

const STATUSES: readonly Status[] = ['pending', 'confirmed', 'paid', 'rejected'];
const METHODS = [
  { value: 'GET', text: 'GET' },
  { value: 'POST', text: 'POST, as a form' },
];
const ABOUT: Readonly<Record<string, string>> = {
  click_id: 'click ID of the order',
  amount: 'order value less refunds, such as 89.90',
  commission: 'what you earn by the order now, such as 8.99',
  order_ref: 'order number',
  event: 'sale, lead or another event of the program',
  status: 'pending, confirmed, paid or rejected',
  time: 'time of the order, Unix seconds',
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
    <Dialog title="New postback" onClose={onClose}>
      <Form
        submit="Create postback"
        busy={busy}
        error={faults.url ? undefined : error}
        onSubmit={() => void run()}
      >
        <MacroUrl
          label="Postback URL of the tracker"
          value={url}
          onChange={setUrl}
          fault={faults.url}
          hint="A public https address with macros behind the ?, such as ?cid={sub1}&payout={commission}&status={status}."
          macros={POSTBACK_MACROS}
          summary="Macros, replaced at each postback"
          about={ABOUT}
        />
        <Select label="Method" value={method} onChange={setMethod} choices={METHODS} />
        {user.affiliate_id === null && (
          <Select
            label="For"
            value={owner}
            onChange={setOwner}
            choices={[
              { value: '', text: 'The program: orders of all partners' },
              ...[...names].map(([value, text]) => ({ value, text })),
            ]}
          />
        )}
        <Choices label="Statuses" all={STATUSES} chosen={statuses} onChange={setStatuses} />
        {program.events.length > 1 && (
          <Choices label="Events" all={program.events} chosen={events} onChange={setEvents} />
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
      <p class="hint">None selected: all.</p>
    </fieldset>
  );
}
