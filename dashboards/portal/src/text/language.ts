import type english from './messages/en.ts';

/** The reader's language: one file of `messages/`, which is loaded before anything is drawn. */

/** A text with `{parameters}` and `<tags>`, or its plural forms, which `{count}` chooses between. */
export type Message =
  | string
  | ({ readonly other: string } & { readonly [Form in Intl.LDMLPluralRule]?: string });
export type Key = keyof typeof english;
/** What a file of `messages/` exports. */
export type Messages = Readonly<Record<Key, Message>>;

const SOURCE = 'en';
const CHOICE = 'afflux-language';

const files = import.meta.glob<{ readonly default: Messages }>('./messages/*.ts');
const paths = new Map(Object.keys(files).map((path) => [path.replace(/^.*\/|\.ts$/g, ''), path]));

/** Codes of the languages that have a file, such as `pt-BR`. */
export const LANGUAGES: readonly string[] = [...paths.keys()];

/** What the reader chose on this device, then what the browser is set to. */
const chosen = globalThis.localStorage?.getItem(CHOICE) ?? undefined;
const preferred = globalThis.navigator?.languages ?? [];

export const LANGUAGE = languageFor([...(chosen === undefined ? [] : [chosen]), ...preferred], LANGUAGES);

/**
 * The locale of numbers, dates and money: as the browser writes them, with its country, unless the reader chose a
 * language that the browser is not set to.
 */
export const LOCALE = chosen === LANGUAGE ? (preferred.find(isOf(LANGUAGE)) ?? LANGUAGE) : preferred[0];

export const messages: Messages = await load();

async function load(): Promise<Messages> {
  const file = await files[paths.get(LANGUAGE) ?? '']?.();
  if (!file) throw new Error(`no messages in ${LANGUAGE}`);
  return file.default;
}

/** The first wanted language that is offered, with or without its country, else English. */
export function languageFor(wanted: readonly string[], offered: readonly string[]): string {
  for (const tag of wanted) {
    const found =
      offered.find((one) => one === tag) ?? offered.find(isOf(tag)) ?? offered.find((one) => isOf(one)(tag));
    if (found !== undefined) return found;
  }
  return SOURCE;
}

function isOf(language: string): (tag: string) => boolean {
  return (tag) => tag === language || tag.startsWith(`${language}-`);
}

/** Keeps the choice on this device and starts again with it. */
export function chooseLanguage(language: string): void {
  localStorage.setItem(CHOICE, language);
  window.location.reload();
}

/** The name of a language in itself, such as Deutsch. */
export function languageName(language: string): string {
  return new Intl.DisplayNames(language, { type: 'language' }).of(language) ?? language;
}
