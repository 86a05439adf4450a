import type { PartnerReason } from '../../text/partner-reasons.ts';
import { REASON_CHOICES } from '../../text/partner-reasons.ts';
import { t } from '../../text/t.ts';
import { Select, TextArea } from '../forms.tsx';

/** As it is filled in; an empty code: nothing is said to the partner. */
export interface ReasonFields {
  readonly code: string;
  readonly text: string;
}

export const NO_REASON: ReasonFields = { code: '', text: '' };

/** As the API takes it; undefined: nothing is said. */
export function reasonBody({
  code,
  text,
}: ReasonFields): { code: PartnerReason['code']; text?: string } | undefined {
  if (code === '') return undefined;
  return { code: code as PartnerReason['code'], ...(text.trim() !== '' && { text }) };
}

/** What the partner is to know about an order. */
export function ReasonChoice(props: {
  fields: ReasonFields;
  onChange: (fields: ReasonFields) => void;
  faults?: Readonly<Record<string, string>>;
}) {
  const { fields, onChange, faults = {} } = props;
  return (
    <>
      <Select
        label={t('partnerReason.said_to_the_partner')}
        value={fields.code}
        onChange={(code) => onChange({ ...fields, code })}
        fault={faults['partner_reason.code']}
        choices={[{ value: '', text: t('partnerReason.nothing') }, ...REASON_CHOICES]}
      />
      {fields.code !== '' && (
        <TextArea
          label={t('partnerReason.in_your_words')}
          rows={2}
          value={fields.text}
          onChange={(text) => onChange({ ...fields, text })}
          fault={faults['partner_reason.text']}
          hint={t('partnerReason.mailed')}
          required={fields.code === 'other'}
        />
      )}
    </>
  );
}
