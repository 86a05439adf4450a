import { hideSecrets } from './secret-forms.ts';

/**
 * Text from outside as it is kept: without what PostgreSQL cannot store (NUL, halves of surrogate pairs), because one such
 * text would refuse everything that is written with it, and with its secrets hidden. At most `maxLength` UTF-16 units.
 */
export function keptText(text: string, maxLength = Number.POSITIVE_INFINITY): string {
  // Made well-formed at the end: a cut can halve a pair.
  return hideSecrets(text.replaceAll('\0', '')).slice(0, maxLength).toWellFormed();
}

/** A value of JSON with {@link keptText} applied to each text and each name in it. */
export function keptJson<Value>(value: Value): Value {
  return keptIn(value) as Value;
}

function keptIn(value: unknown): unknown {
  if (typeof value === 'string') return keptText(value);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(keptIn);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [keptText(name), keptIn(member)]));
}
