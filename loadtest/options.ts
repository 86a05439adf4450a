import { parseArgs } from 'node:util';

/** What an option of a command may be, and what it is when it is not named. */
export interface Option<T> {
  readonly usual: T;
  /** Undefined: the text is not `kind`. */
  readonly read: (text: string) => T | undefined;
  /** In words, after "must be". */
  readonly kind: string;
}

type Spec = Readonly<Record<string, Option<unknown>>>;
type ValuesOf<S extends Spec> = { readonly [K in keyof S]: S[K] extends Option<infer T> ? T : never };

/** Digits, as people type them: 20, 0.5, 1e7. */
const NUMBER = /^\d+(\.\d+)?(e\d+)?$/;

/** A whole number from `least` on. */
export function whole(usual: number, least = 1): Option<number> {
  return {
    usual,
    read(text) {
      const value = numberOf(text);
      return Number.isSafeInteger(value) && value >= least ? value : undefined;
    },
    kind: `a whole number from ${least} on`,
  };
}

/** A number above 0, such as minutes. */
export function above0(usual: number): Option<number> {
  return {
    usual,
    read(text) {
      const value = numberOf(text);
      return Number.isFinite(value) && value > 0 ? value : undefined;
    },
    kind: 'a number above 0',
  };
}

/** Whole numbers from 1 on, separated by commas. */
export function wholes(usual: readonly number[]): Option<readonly number[]> {
  const one = whole(0);
  return {
    usual,
    read(text) {
      const values = text.split(',').flatMap((part) => one.read(part) ?? []);
      return values.length === text.split(',').length ? values : undefined;
    },
    kind: 'whole numbers from 1 on, separated by commas',
  };
}

/** Any text. */
export function text(usual: string): Option<string> {
  return { usual, read: (value) => value, kind: 'a text' };
}

/** An option that a command can do without. */
export function optional<T>({ read, kind }: Option<T>): Option<T | undefined> {
  return { usual: undefined, read, kind };
}

/** The one place that reads the options of benchmarks, load and failure runs. @throws Error that names what is wrong. */
export function parseOptions<S extends Spec>(
  spec: S,
  args: readonly string[],
  { allowPositionals = false } = {},
): { values: ValuesOf<S>; positionals: string[] } {
  const options = Object.fromEntries(Object.keys(spec).map((name) => [name, { type: 'string' as const }]));
  const parsed = parseArgs({ args: [...args], options, allowPositionals });
  const faults: string[] = [];
  const values = Object.entries(spec).map(([name, { usual, read, kind }]) => {
    const given = parsed.values[name];
    if (given === undefined) return [name, usual];
    const value = read(given);
    if (value === undefined) faults.push(`--${name} must be ${kind}, and is "${given}"`);
    return [name, value];
  });
  if (faults.length > 0) throw new Error(faults.join('\n'));
  return { values: Object.fromEntries(values) as ValuesOf<S>, positionals: parsed.positionals };
}

/** Those of this process, which ends with the error's message and code 1 where they are wrong. */
export function readOptions<S extends Spec>(
  spec: S,
  settings: { allowPositionals?: boolean } = {},
): { values: ValuesOf<S>; positionals: string[] } {
  try {
    return parseOptions(spec, process.argv.slice(2), settings);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
}

function numberOf(text: string): number {
  return NUMBER.test(text) ? Number(text) : Number.NaN;
}
