import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { createNetworkMatcher, parseIp } from '../../core/ip.ts';
import { getPostbackSettings, type PostbackSettings } from '../../ledger/integrations/postback-settings.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { DEFAULT_EVENT, eventNameOf } from '../../ledger/programs/events.ts';
import { getProgram } from '../../ledger/programs/programs.ts';
import { Problem } from '../http/problems.ts';
import { type ValueForm, valueForm } from '../mapping/field.ts';
import { valueText } from '../mapping/read-field.ts';
import { orderFields, withoutEmptyMembers } from './order.ts';
import { STATUS_FIELDS } from './order-status.ts';

/** A change of the settings is in force within this. */
const FRESH_MS = 1_000;

const OUR_NAMES = Object.keys(orderFields) as [keyof typeof orderFields, ...(keyof typeof orderFields)[]];

/** What a parameter of a shop is: one of ours, written as we write it or otherwise. */
export const parameterMapping = z.union(
  [z.enum(OUR_NAMES), z.strictObject({ field: z.enum(OUR_NAMES), ...valueForm })],
  {
    error: `must be one of our names, or {"field": one of them} with how its values are written: ${Object.keys(valueForm).join(', ')}`,
  },
);
type ParameterMapping = z.output<typeof parameterMapping>;

/** How the words of a program's shop are read. */
export interface ShopWords {
  /** Its name of a parameter to ours. */
  readonly parameters: Readonly<Record<string, ParameterMapping>>;
  /** The program's events. */
  readonly events: readonly string[];
  /** The program's; undefined: there is no such program. */
  readonly currency: string | undefined;
}

/** Of a program that is not known. */
export const PLAIN_WORDS: ShopWords = { parameters: {}, events: [DEFAULT_EVENT], currency: undefined };

export interface ShopSettings {
  of(programId: number): Promise<Omit<PostbackSettings, 'parameters'> & ShopWords>;
}

/** The settings of programs, each read once a second at the most. */
export function createShopSettings({ ledger }: { ledger: Database }): ShopSettings {
  const known = new Map<number, { readonly at: number; readonly settings: ReturnType<ShopSettings['of']> }>();
  return {
    of(programId) {
      const now = Date.now();
      const before = known.get(programId);
      if (before && now - before.at < FRESH_MS) return before.settings;
      const settings = readSettings(ledger, programId);
      settings.catch(() => known.delete(programId));
      known.set(programId, { at: now, settings });
      return settings;
    },
  };
}

async function readSettings(ledger: Database, programId: number): ReturnType<ShopSettings['of']> {
  const [settings, program] = await Promise.all([
    getPostbackSettings(ledger, programId),
    getProgram(ledger, programId),
  ]);
  return {
    ...settings,
    // They were read by the same schema when they were set.
    parameters: settings.parameters as ShopWords['parameters'],
    events: program?.events ?? PLAIN_WORDS.events,
    currency: program?.currency,
  };
}

/** Whether the address is in one of the networks; an unknown one is in none. An empty list lets everybody in. */
export function isAllowed(address: string | null, networks: readonly string[]): boolean {
  if (networks.length === 0) return true;
  const bytes = address === null ? undefined : parseIp(address);
  return bytes !== undefined && createNetworkMatcher(networks)(bytes);
}

function checkAddress(
  { visitorIp }: FastifyRequest,
  { allowedIps }: Pick<PostbackSettings, 'allowedIps'>,
): void {
  if (isAllowed(visitorIp, allowedIps)) return;
  throw new Problem('ip_not_allowed', {
    detail: `calls from ${visitorIp ?? 'an unknown address'} are not allowed by the program`,
  });
}

/** A browser can neither keep a key nor sign. @throws Problem `forbidden`, `ip_not_allowed`. */
export function checkBrowser(
  request: FastifyRequest,
  settings: Pick<PostbackSettings, 'allowedIps' | 'pixel'>,
): void {
  if (!settings.pixel)
    throw new Problem('forbidden', { detail: 'the program takes no orders from browsers' });
  checkAddress(request, settings);
}

/** @throws Problem `ip_not_allowed`, `signature_required`. */
export function checkCaller(
  request: FastifyRequest,
  settings: Pick<PostbackSettings, 'allowedIps' | 'requireSignature'>,
): void {
  checkAddress(request, settings);
  if (settings.requireSignature && !request.signed) {
    throw new Problem('signature_required', { detail: 'the program takes signed calls only' });
  }
}

/**
 * Members of a report with its event under the name of its own: `event` is the name of a status too. One that names an event
 * of the program is the event; any other word is left to be read as a status.
 */
export function withEventName(params: unknown, { events }: Pick<ShopWords, 'events'>): unknown {
  if (typeof params !== 'object' || params === null || !('event' in params)) return params;
  const { event, ...rest } = params;
  const name = typeof event === 'string' ? eventNameOf(event) : '';
  if (!events.includes(name)) return params;
  const given =
    'event_name' in rest && typeof rest.event_name === 'string' ? eventNameOf(rest.event_name) : name;
  return given === name ? { ...rest, event_name: name } : params;
}

/**
 * Parameters under our names, written as we write them; empty ones are left out, and what is there under our name already
 * wins. Tells which were renamed.
 * A status counts under its name in any case: ignored, a cancelled order would be a sale.
 * @throws InputError where a value is not written as the mapping says.
 */
export function renamed(
  sent: Readonly<Record<string, unknown>>,
  { parameters: names, currency }: Pick<ShopWords, 'parameters' | 'currency'>,
): { params: Record<string, unknown>; renames: { from: string; to: string }[] } {
  const params = withoutEmptyMembers(sent);
  const ours: Record<string, unknown> = Object.create(null);
  const renames: { from: string; to: string }[] = [];
  for (const [name, value] of Object.entries(params)) if (!Object.hasOwn(names, name)) ours[name] = value;
  for (const name of Object.keys(ours)) {
    const field = name.toLowerCase();
    if (name === field || !STATUS_FIELDS.some((one) => one === field)) continue;
    if (!Object.hasOwn(ours, field)) ours[field] = ours[name];
    else if (ours[field] !== ours[name]) ours[field] = [ours[field], ours[name]];
    delete ours[name];
  }
  const forms = new Map<string, ValueForm>();
  for (const [name, value] of Object.entries(params)) {
    const mapped = Object.hasOwn(names, name) ? names[name] : undefined;
    if (mapped === undefined) continue;
    const { field: to, ...form } = typeof mapped === 'string' ? { field: mapped } : mapped;
    renames.push({ from: name, to });
    if (Object.hasOwn(ours, to)) continue;
    ours[to] = value;
    if (typeof mapped !== 'string') forms.set(to, form);
  }
  // The currency says how many digits an amount has.
  for (const to of [...forms.keys()].toSorted(
    (a, b) => Number(b === 'currency') - Number(a === 'currency'),
  )) {
    const value = ours[to];
    const given = sentText(to, value);
    const money = typeof ours.currency === 'string' ? ours.currency.trim().toUpperCase() : currency;
    // A number of JSON has a point whatever texts have.
    const form = { ...forms.get(to), ...(typeof value === 'number' && { decimal: undefined }) };
    if (given !== undefined) ours[to] = valueText(to, given, form, money ?? '');
  }
  return { params: { ...ours }, renames };
}

/** The text of a value, numbers of JSON among them; undefined: it is left to the schema of reports. */
function sentText(field: string, value: unknown): string | undefined {
  if (typeof value === 'string') return value.trim();
  if (typeof value !== 'number') return undefined;
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new InputError(
      field,
      'is a JSON number of more than 15 digits, which is not exact: send it as text',
    );
  }
  return String(value);
}
