/**
 * The document in the form that generators of clients understand alike. The same JSON Schema can be written in several
 * ways, and of some of them common generators make nothing, or code that does not compile.
 */

type Schema = Record<string, unknown>;

/** Rewrites every schema in `document`; what is no schema stays as it is. */
export function plainForm<Document>(document: Document): Document {
  return rewritten(document) as Document;
}

function rewritten(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rewritten);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, member]) => [
    name,
    // Examples and defaults are values: an example may have a member of the name of a keyword.
    VALUES.has(name) ? member : rewritten(member),
  ]);
  return listedTypes(nullableType(Object.fromEntries(members) as Schema));
}

const VALUES = new Set(['example', 'examples', 'default', 'enum', 'const']);

/** `anyOf` of a plain type and null is that type or null: `type: [array, 'null']`. */
function nullableType(schema: Schema): Schema {
  const { anyOf, ...rest } = schema;
  if (!Array.isArray(anyOf) || anyOf.length !== 2) return schema;
  const [first, second] = anyOf as Schema[];
  const isPlain =
    typeof first?.type === 'string' && first.type !== 'null' && !('enum' in first || 'const' in first);
  return isPlain && second?.type === 'null' ? { ...first, ...rest, type: [first.type, 'null'] } : schema;
}

/** A list of several types beside null is a choice between them: `anyOf`. */
function listedTypes(schema: Schema): Schema {
  const { type, ...rest } = schema;
  if (!Array.isArray(type) || type.filter((one) => one !== 'null').length < 2) return schema;
  return { ...rest, anyOf: type.map((one) => ({ type: one })) };
}
