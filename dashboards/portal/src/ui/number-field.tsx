import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { type NumberRules, readNumber, rulesOfAmount, writeNumber } from '../text/numbers.ts';
import { TextField } from './forms.tsx';

/**
 * A number in the format of the reader; its value is the plain decimal of the API. The form is not sent while it has none:
 * the value is empty then, and the fault stands beside the field.
 */
export function NumberField(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  hint?: ComponentChildren;
  fault?: string | undefined;
  placeholder?: string;
  required?: boolean;
  whole?: boolean;
  /** Of an amount. */
  currency?: string;
}) {
  const { value, onChange, whole, currency, ...field } = props;
  const [typed, setTyped] = useState({ text: writeNumber(value), value });
  // A value from elsewhere takes the place of what was typed.
  const text = typed.value === value ? typed.text : writeNumber(value);
  const rules: NumberRules = {
    ...(whole && { whole }),
    ...(currency !== undefined && rulesOfAmount(currency)),
  };
  const { fault } = text.trim() === '' ? { fault: undefined } : readNumber(text, rules);
  return (
    <TextField
      {...field}
      inputMode={whole ? 'numeric' : 'decimal'}
      value={text}
      fault={fault ?? field.fault}
      validity={fault}
      onChange={(next) => {
        const read = next.trim() === '' ? '' : (readNumber(next, rules).value ?? '');
        setTyped({ text: next, value: read });
        onChange(read);
      }}
    />
  );
}
