import { t } from '../../text/t.ts';

/**
 * The names that a shop gives parameters, a line each: `transaction_id = order_id`, or
 * `sum = {"field": "amount", "decimal": ","}` where the values are written in another way as well.
 */

export function textOf(parameters: Readonly<Record<string, unknown>>): string {
  return Object.entries(parameters)
    .map(([name, ours]) => `${name} = ${typeof ours === 'string' ? ours : JSON.stringify(ours)}`)
    .join('\n');
}

/** @throws SyntaxError for a line that is none of these, or a name that occurs twice. */
export function parametersOf(text: string): Record<string, unknown> {
  const parameters = new Map<string, unknown>();
  for (const line of text.split('\n').filter((one) => one.trim() !== '')) {
    const at = line.indexOf('=');
    const name = line.slice(0, Math.max(at, 0)).trim();
    const value = line.slice(at + 1).trim();
    if (name === '' || value === '') throw new SyntaxError(t('postbackSettings.no_name', { line }));
    if (parameters.has(name)) throw new SyntaxError(t('postbackSettings.name_twice', { name }));
    parameters.set(name, value.startsWith('{') ? formOf(value, line) : value);
  }
  return Object.fromEntries(parameters);
}

function formOf(value: string, line: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw new SyntaxError(t('postbackSettings.no_json', { line }));
  }
}
