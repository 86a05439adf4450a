import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Problem } from '../../ui/basics.tsx';
import { Form, Select, TextField } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';

interface Props {
  readonly affiliate: Schemas['Affiliate'];
  readonly onChanged: () => void;
}

/** What moves a partner's money without an order, and how a partner ends. */
export function AffiliateActs(props: Props) {
  const { user } = useSession();
  const { status, merged_into: mergedInto, erased_at: erasedAt } = props.affiliate;
  if (mergedInto !== null)
    return <p class="muted">{t('affiliateActs.merged_into_mergedinto', { mergedInto })}</p>;
  if (erasedAt !== null) return <p class="muted">{t('affiliateActs.this_partner_was_erased_the')}</p>;
  return (
    <>
      <Fold title={t('affiliateActs.bonus_or_deduction')}>
        <Adjustment {...props} />
      </Fold>
      {status === 'terminated' ? (
        <Fold title={t('affiliateActs.close_the_balance_erase')}>
          <Closing {...props} mayErase={user.role === 'operator'} />
        </Fold>
      ) : (
        user.role === 'operator' && (
          <Fold title={t('affiliateActs.merge_into_another_partner')}>
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
    <Form
      submit={t('affiliateActs.book_it')}
      busy={busy}
      error={faults.amount ? undefined : error}
      onSubmit={() => void run()}
    >
      <Select
        label={t('common.kind')}
        value={fields.kind}
        onChange={set('kind')}
        choices={[
          { value: 'bonus', text: t('affiliateActs.bonus') },
          { value: 'deduction', text: t('affiliateActs.deduction') },
        ]}
      />
      <NumberField
        label={t('affiliateActs.amount_in_currency', { currency: program.currency })}
        value={fields.amount}
        onChange={set('amount')}
        currency={program.currency}
        fault={faults.amount}
        required
      />
      <TextField
        label={t('affiliateActs.note_in_the_statement')}
        value={fields.note}
        onChange={set('note')}
        required
      />
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
        submit={t('affiliateActs.forfeit_the_balance')}
        kind="danger"
        busy={forfeit.busy}
        error={forfeit.error}
        onSubmit={() => void forfeit.run()}
      >
        <TextField
          label={t('common.reason')}
          value={note}
          onChange={setNote}
          hint={t('affiliateActs.all_that_was_earned_and')}
          required
        />
      </Form>
      {mayErase && (
        <>
          <Problem error={erase.error} />
          <p class="muted">{t('affiliateActs.erasing_removes_names_addresses_and')}</p>
          <div class="form-end">
            <Button kind="danger" busy={erase.busy} onClick={() => void erase.run()}>
              {t('affiliateActs.erase_the_person')}
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
      submit={t('affiliateActs.merge')}
      kind="danger"
      busy={busy}
      error={faults.into_affiliate_id ? undefined : error}
      onSubmit={() => void run()}
    >
      <TextField
        label={t('affiliateActs.into_the_partner')}
        value={fields.into_affiliate_id}
        onChange={set('into_affiliate_id')}
        placeholder="aff_12"
        fault={faults.into_affiliate_id}
        hint={t('affiliateActs.takes_over_links_recruits_and')}
        required
      />
      <TextField label={t('common.reason')} value={fields.note} onChange={set('note')} required />
    </Form>
  );
}
