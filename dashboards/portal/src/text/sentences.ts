import { currencyExponent } from '../../../../core/money.ts';
import { formatMoney, formatTime, words } from './format.ts';

/** Sentences of the API for readers: times in their zone, money in their format, names beside ids, codes as words. */

const INSTANT = /\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z/g;
const AMOUNT = /(?<![\w.])(\d+(?:\.\d+)?) ([A-Z]{3})\b/g;
const ID = /\b(?:aff|cmp|lnk)_\d+\b|\b(?:user|key):\d+\b/g;
/** The name of a rule or of a reason, where a sentence has one. */
const CODE = /(?<=\bRule |\()[a-z]+(?:_[a-z]+)+\b/g;

export function readable(sentence: string, names: ReadonlyMap<string, string>): string {
  return sentence
    .replaceAll(INSTANT, (at) => formatTime(at))
    .replaceAll(AMOUNT, (text, amount: string, currency: string) =>
      currencyExponent(currency) === undefined ? text : formatMoney({ amount, currency }),
    )
    .replaceAll(ID, (id) => withName(id, names))
    .replaceAll(CODE, (code) => `“${words(code)}”`);
}

/** "Ann (aff_1)", or the id alone. */
function withName(id: string, names: ReadonlyMap<string, string>): string {
  const name = names.get(id);
  return name === undefined ? id : `${name} (${id})`;
}
