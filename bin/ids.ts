import { type BigintIdKind, bigintId, formatId, type IntegerIdKind, integerId } from '../api/schemas/ids.ts';
import { OperatingError } from '../core/errors.ts';

/** The id in an argument, such as "pay_12". @throws OperatingError `usage`. */
export function parseBigintId(kind: BigintIdKind, text: string): bigint {
  return bigintId(kind).safeParse(text).data ?? refuse(kind, text);
}

/** As {@link parseBigintId}, of an `integer` identity. */
export function parseIntegerId(kind: IntegerIdKind, text: string): number {
  return integerId(kind).safeParse(text).data ?? refuse(kind, text);
}

function refuse(kind: BigintIdKind | IntegerIdKind, text: string): never {
  throw new OperatingError('usage', `${text} is not the id of a ${kind}, such as ${formatId(kind, 12)}`);
}
