import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Card, Loading, Problem } from '../../ui/basics.tsx';
import { Check, Form } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';

/** What stands between the program's money and one person who would move it alone. */
export function PayoutProtection({ onSaved }: { onSaved: () => void }) {
  const { program, user } = useSession();
  const { data, error, reload } = useData(
    async (signal) =>
      await takeVersion(api.GET('/v1/programs/{id}', { params: { path: { id: program.id } }, signal })),
    [program.id],
  );
  if (user.role !== 'operator') return null;
  return (
    <Card title={t('payoutProtection.protection')} note={t('payoutProtection.changes_are_in_the_audit')}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <ProtectionForm
          key={data.etag}
          {...data}
          onSaved={() => {
            reload();
            onSaved();
          }}
        />
      )}
    </Card>
  );
}

function ProtectionForm(props: { data: Schemas['Program']; etag: string; onSaved: () => void }) {
  const { data, etag, onSaved } = props;
  const [days, setDays] = useState(String(data.payout_method_hold_days ?? ''));
  const [approval, setApproval] = useState(data.payouts_need_approval ?? false);
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: data.id }, header: { 'if-match': etag } };
    const body = { payout_method_hold_days: Number(days), payouts_need_approval: approval };
    await take(api.PATCH('/v1/programs/{id}', { params, body }));
    onSaved();
  });
  const fault = fieldProblems(error).payout_method_hold_days;
  return (
    <Form submit={t('common.save')} busy={busy} error={fault ? undefined : error} onSubmit={() => void run()}>
      <NumberField
        label={t('payoutProtection.days_without_payouts_after_a')}
        whole
        value={days}
        onChange={setDays}
        fault={fault}
        required
      />
      <Check
        label={t('payoutProtection.a_second_person_approves_each')}
        checked={approval}
        onChange={setApproval}
      />
    </Form>
  );
}
