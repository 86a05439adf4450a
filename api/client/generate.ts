/**
 * Types of the API for `openapi-fetch`, made of the OpenAPI document. openapi-typescript would do, but it needs the
 * JavaScript interface of TypeScript 5, which the compiler used here lacks.
 */

type Schema = Readonly<Record<string, unknown>>;

interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema: Schema }[];
  readonly requestBody?: {
    readonly required?: boolean;
    readonly content: Record<string, { schema: Schema }>;
  };
  readonly responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}

const HEAD = `/** Made of the API's own OpenAPI document; \`npx vitest run api/client -u\` generates it again. */
`;

/** The source of a module that exports \`paths\` and \`components\`. */
export function generateClientTypes(document: Readonly<Record<string, unknown>>): string {
  const paths = document.paths as Record<string, Record<string, Operation>>;
  const { schemas } = document.components as { schemas: Record<string, Schema> };
  const named = Object.entries(schemas).map(([name, schema]) => `    ${name}: ${typeOf(schema)};`);
  const routes = Object.entries(paths).map(([path, methods]) => {
    const operations = Object.entries(methods).map(
      ([method, operation]) =>
        `    /** ${operation.summary ?? operation.operationId} */\n    ${method}: ${operationType(operation)};`,
    );
    return `  ${JSON.stringify(path)}: {\n${operations.join('\n')}\n  };`;
  });
  return `${HEAD}
export interface components {
  schemas: {
${named.join('\n')}
  };
}

export interface paths {
${routes.join('\n')}
}
`;
}

function operationType({ parameters = [], requestBody, responses }: Operation): string {
  const places = ['query', 'header', 'path', 'cookie'].map((place) => {
    const members = parameters.filter((parameter) => parameter.in === place);
    if (members.length === 0) return `${place}?: never`;
    const needed = members.some(({ required }) => required);
    const fields = members.map(
      ({ name, required, schema }) => `${key(name)}${required ? '' : '?'}: ${typeOf(schema)}`,
    );
    return `${place}${needed ? '' : '?'}: { ${fields.join('; ')} }`;
  });
  const body = requestBody
    ? `requestBody${requestBody.required ? '' : '?'}: { content: ${contentType(requestBody.content)} }`
    : 'requestBody?: never';
  const answers = Object.entries(responses).map(
    ([status, { content }]) =>
      `${status}: { headers: { [name: string]: unknown }; content: ${content ? contentType(answerOf(content)) : '{ [type: string]: never }'} }`,
  );
  return `{ parameters: { ${places.join('; ')} }; ${body}; responses: { ${answers.join('; ')} } }`;
}

/** An answer that is also available as a file is JSON by default; as a file it is read as text. */
function answerOf(content: Record<string, { schema: Schema }>): Record<string, { schema: Schema }> {
  const json = content['application/json'];
  return json ? { 'application/json': json } : content;
}

function contentType(content: Record<string, { schema: Schema }>): string {
  const types = Object.entries(content).map(
    ([type, { schema }]) => `${JSON.stringify(type)}: ${typeOf(schema)}`,
  );
  return `{ ${types.join('; ')} }`;
}

function typeOf(schema: Schema): string {
  const ref = /^#\/components\/schemas\/(\w+)$/.exec(String(schema.$ref ?? ''))?.[1];
  if (ref !== undefined) return `components['schemas'][${JSON.stringify(ref)}]`;
  if ('const' in schema) return JSON.stringify(schema.const);
  if (Array.isArray(schema.enum))
    return schema.enum.map((value) => JSON.stringify(value)).join(' | ') || 'never';
  const choices = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined;
  if (choices) return [...new Set(choices.map(typeOf))].map(inUnion).join(' | ');
  const all = schema.allOf as Schema[] | undefined;
  if (all) return all.map(typeOf).map(inUnion).join(' & ');
  const kinds = [schema.type ?? 'unknown'].flat() as string[];
  return [...new Set(kinds.map((kind) => typeOfKind(kind, schema)))].join(' | ');
}

function inUnion(type: string): string {
  return / [|&] /.test(type) ? `(${type})` : type;
}

function typeOfKind(kind: string, schema: Schema): string {
  switch (kind) {
    case 'string':
      return 'string';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `${inUnion(typeOf((schema.items ?? {}) as Schema))}[]`;
    case 'object':
      return objectType(schema);
    default:
      return 'unknown';
  }
}

function objectType(schema: Schema): string {
  const members = Object.entries((schema.properties ?? {}) as Record<string, Schema>);
  const required = new Set((schema.required ?? []) as string[]);
  const fields = members.map(
    ([name, member]) => `${key(name)}${required.has(name) ? '' : '?'}: ${typeOf(member)}`,
  );
  const more = schema.additionalProperties;
  if (more !== undefined && more !== false) {
    const type = typeof more === 'object' && members.length === 0 ? typeOf(more as Schema) : 'unknown';
    fields.push(`[name: string]: ${type}`);
  }
  return fields.length === 0 ? 'Record<string, never>' : `{ ${fields.join('; ')} }`;
}

function key(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}
