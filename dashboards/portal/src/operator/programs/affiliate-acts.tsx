import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Problem } from '../../ui/basics.tsx';
import { Form, Select, TextField } from '../../ui/forms.tsx';

interface Props {
  readonly affiliate: Schemas['Affiliate'];
  readonly onChanged: () => void;
}

/** What moves a partner's money without an order, and how a partner ends. */
export function AffiliateActs(props: Props) {
  const { user } = useSession();
  const { status, merged_into: mergedInto, erased_at: erasedAt } = props.affiliate;
  if (mergedInto !== null) return <p class="muted">Merged into {mergedInto}.</p>;
  if (erasedAt !== null) return <p class="muted">This partner was erased; the books stay.</p>;
  return (
    <>
      <Fold title="Bonus or deduction">
        <Adjustment {...props} />
      </Fold>
      {status === 'terminated' ? (
        <Fold title="Close the balance, erase">
          <Closing {...props} mayErase={user.role === 'operator'} />
        </Fold>
      ) : (
        user.role === 'operator' && (
          <Fold title="Merge into another partner">
            <Merge {...props} />
          </Fold>
        )
      )}
    </>
  );
}

function Fold({ title, children }: { title: string; children: preact.ComponentChildren }) {
  return (
    <details>
      <summary>{title}</summary>
      {children}
    </details>
  );
}

function Adjustment({ affiliate, onChanged }: Props) {
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [fields, setFields] = useState({ kind: 'bonus', amount: '', note: '' });
  const set = (field: keyof typeof fields) => (value: string) => setFields({ ...fields, [field]: value });
  const { run, busy, error } = useAction(async () => {
    const { kind, ...rest } = fields;
    const body = { kind: kind as 'bonus' | 'deduction', currency: program.currency, ...rest };
    const params = { path: { id: affiliate.id }, header: attempt };
    await take(api.POST('/v1/affiliates/{id}/adjustments', { params, body }));
    onChanged();
  });
  const faults = fieldProblems(error);
  return (
    <Form submit="Book it" busy={busy} error={faults.amount ? undefined : error} onSubmit={() => void run()}>
      <Select
        label="Kind"
        value={fields.kind}
        onChange={set('kind')}
        choices={[
          { value: 'bonus', text: 'Bonus' },
          { value: 'deduction', text: 'Deduction' },
        ]}
      />
      <TextField
        label={`Amount in ${program.currency}`}
        value={fields.amount}
        onChange={set('amount')}
        inputMode="decimal"
        fault={faults.amount}
        required
      />
      <TextField label="Note in the statement" value={fields.note} onChange={set('note')} required />
    </Form>
  );
}

function Closing({ affiliate, onChanged, mayErase }: Props & { mayErase: boolean }) {
  const [note, setNote] = useState('');
  const params = { path: { id: affiliate.id } };
  const forfeit = useAction(async () => {
    await take(api.POST('/v1/affiliates/{id}/forfeit', { params, body: { note } }));
    onChanged();
  });
  const erase = useAction(async () => {
    await take(api.POST('/v1/affiliates/{id}/erase', { params }));
    onChanged();
  });
  return (
    <>
      <Form
        submit="Forfeit the balance"
        kind="danger"
        busy={forfeit.busy}
        error={forfeit.error}
        onSubmit={() => void forfeit.run()}
      >
        <TextField
          label="Reason"
          value={note}
          onChange={setNote}
          hint="All that was earned and is not paid goes back to the program. To pay it, run the payouts for this partner."
          required
        />
      </Form>
      {mayErase && (
        <>
          <Problem error={erase.error} />
          <p class="muted">Erasing removes names, addresses and accounts for good. The books stay.</p>
          <div class="form-end">
            <Button kind="danger" busy={erase.busy} onClick={() => void erase.run()}>
              Erase the person
            </Button>
          </div>
        </>
      )}
    </>
  );
}

function Merge({ affiliate, onChanged }: Props) {
  const [fields, setFields] = useState({ into_affiliate_id: '', note: '' });
  const set = (field: keyof typeof fields) => (value: string) => setFields({ ...fields, [field]: value });
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: affiliate.id } };
    await take(api.POST('/v1/affiliates/{id}/merge', { params, body: fields }));
    onChanged();
  });
  const faults = fieldProblems(error);
  return (
    <Form
      submit="Merge"
      kind="danger"
      busy={busy}
      error={faults.into_affiliate_id ? undefined : error}
      onSubmit={() => void run()}
    >
      <TextField
        label="Into the partner"
        value={fields.into_affiliate_id}
        onChange={set('into_affiliate_id')}
        placeholder="aff_12"
        fault={faults.into_affiliate_id}
        hint="Takes over links, recruits and balance; this one is terminated."
        required
      />
      <TextField label="Reason" value={fields.note} onChange={set('note')} required />
    </Form>
  );
}
