/** What tests derive from the OpenAPI document, so that a new route cannot be forgotten. */

export type Schema = Readonly<Record<string, unknown>>;

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header' | 'cookie';
  readonly required?: boolean;
  readonly schema: Schema;
}

export interface Operation {
  readonly method: string;
  /** With `{id}` and the like. */
  readonly path: string;
  readonly operationId: string;
  readonly tags: readonly string[];
  /** Empty: open to everybody. */
  readonly roles: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly body: Schema | undefined;
  readonly bodyType: string | undefined;
  /** Documented answers: the content types of each status; none for one without a body. */
  readonly answers: ReadonlyMap<number, readonly string[]>;
}

export interface Document {
  readonly operations: readonly Operation[];
  /** Follows a `$ref`. */
  resolve(schema: Schema): Schema;
}

interface RawBody {
  readonly schema: Schema;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}

/** The schema of a body with the example that stands beside it. */
function bodySchema({ schema, example, examples = {} }: RawBody): Schema {
  const [first] = Object.values(examples);
  const shown = example ?? first?.value;
  return shown === undefined ? schema : { ...schema, examples: [shown] };
}

interface RawOperation {
  readonly operationId: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, RawBody>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
  readonly 'x-roles'?: readonly string[];
}

function answersOf(responses: RawOperation['responses']): Operation['answers'] {
  const answers = Object.entries(responses).map(
    ([status, { content = {} }]) => [Number(status), Object.keys(content)] as const,
  );
  return new Map(answers);
}

export function readDocument(json: Readonly<Record<string, unknown>>): Document {
  const paths = json.paths as Record<string, Record<string, RawOperation>>;
  const schemas = (json.components as { schemas: Record<string, Schema> }).schemas;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, raw]): Operation => {
      const [bodyType] = Object.keys(raw.requestBody?.content ?? {}).slice(-1);
      const body = bodyType === undefined ? undefined : raw.requestBody?.content[bodyType];
      return {
        method: method.toUpperCase(),
        path,
        operationId: raw.operationId,
        tags: raw.tags ?? [],
        roles: raw['x-roles'] ?? [],
        parameters: raw.parameters ?? [],
        bodyType,
        body: body && bodySchema(body),
        answers: answersOf(raw.responses),
      };
    }),
  );
  function resolve(schema: Schema): Schema {
    const name = /^#\/components\/schemas\/(\w+)$/.exec(String(schema.$ref ?? ''))?.[1];
    return name === undefined ? schema : resolve(schemas[name] ?? {});
  }
  return { operations, resolve };
}

/** The prefix of the ids that a schema takes, such as `lnk`; undefined when it takes none. */
export function idPrefix(schema: Schema): string | undefined {
  return /^\^([a-z]{3})_\[1-9\]/.exec(String(schema.pattern ?? ''))?.[1];
}

/** A value that a schema takes: its example, or the plainest there is. Optional members are left out. */
export function sampleOf(schema: Schema, document: Document): unknown {
  const own = document.resolve(schema);
  const [example] = (own.examples as unknown[] | undefined) ?? [];
  if (example !== undefined) return example;
  if (own.const !== undefined) return own.const;
  if (own.default !== undefined) return own.default;
  if (Array.isArray(own.enum)) return own.enum[0];
  const choices = (own.anyOf ?? own.oneOf) as Schema[] | undefined;
  if (choices?.[0]) return sampleOf(choices[0], document);
  switch (Array.isArray(own.type) ? own.type[0] : own.type) {
    case 'object':
      return sampleObject(own, document);
    case 'array':
      return Array.from({ length: Number(own.minItems ?? 0) }, () =>
        sampleOf((own.items ?? {}) as Schema, document),
      );
    case 'integer':
    case 'number':
      return Math.max(1, Number(own.minimum ?? 0));
    case 'boolean':
      return true;
    case 'string':
      return sampleText(own);
    default:
      return 'x';
  }
}

function sampleObject(own: Schema, document: Document): Record<string, unknown> {
  const members = (own.properties ?? {}) as Record<string, Schema>;
  const required = (own.required ?? []) as string[];
  return Object.fromEntries(required.map((name) => [name, sampleOf(members[name] ?? {}, document)]));
}

function sampleText(own: Schema): string {
  if (own.format === 'date-time') return '2026-11-01T00:00:00Z';
  const prefix = idPrefix(own);
  if (prefix) return `${prefix}_1`;
  return 'x'.repeat(Math.max(1, Number(own.minLength ?? 1)));
}
