import type { Schemas } from '../../../data/api.ts';
import { formatCount, words } from '../../../text/format.ts';
import { RULE_UNITS } from '../../../text/rule-units.ts';
import { t } from '../../../text/t.ts';
import { Check } from '../../../ui/forms.tsx';
import { NumberField } from '../../../ui/number-field.tsx';

/** What a rule compares with: a number, or whether it is on. Undefined: it watches, with the suggested number. */
export function ThresholdField(props: {
  name: keyof Schemas['FraudRules'];
  value: number | boolean | undefined;
  suggested: number;
  onChange: (value: number | boolean) => void;
  fault: string | undefined;
}) {
  const { name, value, suggested, onChange, fault } = props;
  const unit = RULE_UNITS[name];
  const isWatching = value === undefined;
  if (unit === null) return <Check label={words(name)} checked={value === true} onChange={onChange} />;
  return (
    <NumberField
      label={`${words(name)}, ${unit}`}
      whole
      value={typeof value === 'number' ? String(value) : ''}
      onChange={(text) => onChange(text.trim() === '' ? false : Number(text))}
      fault={fault}
      placeholder={t(isWatching ? 'fraudRules.watching' : 'settings.off')}
      hint={isWatching ? t('fraudRules.suggested', { threshold: formatCount(suggested) }) : undefined}
    />
  );
}
