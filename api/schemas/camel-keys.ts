/** Bodies are written in snake_case and the code in camelCase: one translation instead of one line a field. */

type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

export type CamelKeys<T> = { [Key in keyof T as Key extends string ? Camel<Key> : never]: T[Key] };

/** `{ fallback_url: x }` as `{ fallbackUrl: x }`; what is inside the values stays as it is. */
export function camelKeys<T extends object>(value: T): CamelKeys<T> {
  const entries = Object.entries(value).map(([key, member]) => [
    key.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase()),
    member,
  ]);
  return Object.fromEntries(entries) as CamelKeys<T>;
}
