import { z } from 'zod';

/** Public ids: a prefix for the kind, and the number from the database. */

const INTEGER_IDS = {
  program: 'prg',
  campaign: 'cmp',
  affiliate: 'aff',
  link: 'lnk',
  coupon: 'cpn',
  terms: 'trm',
  apiKey: 'key',
  webhookEndpoint: 'whk',
  user: 'usr',
  linkTemplate: 'tpl',
  rate: 'rat',
  source: 'src',
  application: 'app',
  block: 'blk',
  savedReport: 'rpt',
  case: 'cas',
} as const;

const BIGINT_IDS = {
  conversion: 'cnv',
  commission: 'com',
  refund: 'ref',
  payout: 'pay',
  payoutRun: 'run',
  adjustment: 'adj',
  payoutBatch: 'bat',
  statementDocument: 'stm',
  auditEntry: 'log',
  postbackCall: 'pbk',
  webhookDelivery: 'dlv',
  journal: 'jrn',
  job: 'job',
  deadLetter: 'dlt',
  session: 'ses',
  orderMessage: 'msg',
} as const;

export type IntegerIdKind = keyof typeof INTEGER_IDS;
export type BigintIdKind = keyof typeof BIGINT_IDS;

/** Largest PostgreSQL integer. */
const MAX_INTEGER = 2_147_483_647n;
/** Largest PostgreSQL bigint. */
const MAX_BIGINT = 9_223_372_036_854_775_807n;

const PREFIXES: Readonly<Record<IntegerIdKind | BigintIdKind, string>> = { ...INTEGER_IDS, ...BIGINT_IDS };

/** `formatId('program', 1)` is "prg_1". */
export function formatId(kind: IntegerIdKind | BigintIdKind, id: number | bigint): string {
  return `${PREFIXES[kind]}_${id}`;
}

/** {@link formatId}, with null for null. */
export function formatOptionalId(
  kind: IntegerIdKind | BigintIdKind,
  id: number | bigint | null,
): string | null {
  return id === null ? null : formatId(kind, id);
}

function digitsOf(kind: IntegerIdKind | BigintIdKind, text: string, max: bigint): bigint | undefined {
  const prefix = `${PREFIXES[kind]}_`;
  const digits = text.startsWith(prefix) ? text.slice(prefix.length) : '';
  if (!/^[1-9]\d{0,18}$/.test(digits)) return undefined;
  const id = BigInt(digits);
  return id <= max ? id : undefined;
}

/** Reads an id of an `integer` identity; undefined for any other text. */
function parseIntegerId(kind: IntegerIdKind, text: string): number | undefined {
  const id = digitsOf(kind, text, MAX_INTEGER);
  return id === undefined ? undefined : Number(id);
}

/** Reads an id of a `bigint` identity; undefined for any other text. */
function parseBigintId(kind: BigintIdKind, text: string): bigint | undefined {
  return digitsOf(kind, text, MAX_BIGINT);
}

/** Reads an id of any kind; undefined for any other text. */
export function parseId(kind: IntegerIdKind | BigintIdKind, text: string): number | bigint | undefined {
  return isInteger(kind) ? parseIntegerId(kind, text) : parseBigintId(kind, text);
}

function isInteger(kind: IntegerIdKind | BigintIdKind): kind is IntegerIdKind {
  return kind in INTEGER_IDS;
}

function idSchema<Id>(prefix: string, parse: (text: string) => Id | undefined) {
  return z
    .string()
    .meta({ pattern: `^${prefix}_[1-9][0-9]*$`, examples: [`${prefix}_1`] })
    .transform((text, context): Id => {
      const id = parse(text);
      if (id !== undefined) return id;
      context.addIssue({ code: 'custom', message: `must be an id such as ${prefix}_1` });
      return z.NEVER;
    });
}

/** Accepts "prg_1" and yields 1. */
export function integerId(kind: IntegerIdKind) {
  return idSchema(PREFIXES[kind], (text) => parseIntegerId(kind, text));
}

/** Accepts "cnv_1" and yields 1n. */
export function bigintId(kind: BigintIdKind) {
  return idSchema(PREFIXES[kind], (text) => parseBigintId(kind, text));
}

/** How an id looks in an answer. */
export function idText(kind: IntegerIdKind | BigintIdKind) {
  return z.string().meta({ examples: [`${PREFIXES[kind]}_1`] });
}
