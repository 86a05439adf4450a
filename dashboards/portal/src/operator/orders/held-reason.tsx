import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { partnerReasonText } from '../../text/partner-reasons.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Form } from '../../ui/forms.tsx';
import { NO_REASON, ReasonChoice, reasonBody } from '../../ui/orders/partner-reason.tsx';

/** Says to the partner why an order is held, without deciding about it. */
export function HeldReason(props: { conversion: Schemas['ListedConversion']; onSaid: () => void }) {
  const { conversion, onSaid } = props;
  const [fields, setFields] = useState(NO_REASON);
  const { run, busy, error } = useAction(async () => {
    const body = reasonBody(fields);
    if (!body) return;
    const params = { path: { id: conversion.id } };
    await take(api.PUT('/v1/conversions/{id}/partner-reason', { params, body }));
    setFields(NO_REASON);
    onSaid();
  });
  const said = conversion.partner_reason;
  return (
    <details>
      <summary>
        {said ? t('partnerReason.said', { text: partnerReasonText(said) }) : t('partnerReason.say_why')}
      </summary>
      <Form submit={t('partnerReason.say_it')} busy={busy} error={error} onSubmit={() => void run()}>
        <ReasonChoice fields={fields} onChange={setFields} faults={fieldProblems(error)} />
      </Form>
    </details>
  );
}
