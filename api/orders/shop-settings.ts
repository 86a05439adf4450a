import type { FastifyRequest } from 'fastify';
import { createNetworkMatcher, parseIp } from '../../core/ip.ts';
import { getPostbackSettings, type PostbackSettings } from '../../ledger/integrations/postback-settings.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { DEFAULT_EVENT, eventNameOf } from '../../ledger/programs/events.ts';
import { getProgram } from '../../ledger/programs/programs.ts';
import { Problem } from '../http/problems.ts';
import { STATUS_FIELDS } from './order-status.ts';

/** A change of the settings is in force within this. */
const FRESH_MS = 1_000;

/** How the words of a program's shop are read. */
export interface ShopWords {
  /** Its name of a parameter to ours. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The program's events. */
  readonly events: readonly string[];
}

/** Of a program that is not known. */
export const PLAIN_WORDS: ShopWords = { parameters: {}, events: [DEFAULT_EVENT] };

export interface ShopSettings {
  /** `currency` is the program's; undefined: there is no such program. */
  of(programId: number): Promise<PostbackSettings & ShopWords & { readonly currency: string | undefined }>;
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
  return { ...settings, events: program?.events ?? PLAIN_WORDS.events, currency: program?.currency };
}

/** Whether the address is in one of the networks; an unknown one is in none. An empty list lets everybody in. */
export function isAllowed(address: string | null, networks: readonly string[]): boolean {
  if (networks.length === 0) return true;
  const bytes = address === null ? undefined : parseIp(address);
  return bytes !== undefined && createNetworkMatcher(networks)(bytes);
}

function checkAddress({ visitorIp }: FastifyRequest, { allowedIps }: PostbackSettings): void {
  if (isAllowed(visitorIp, allowedIps)) return;
  throw new Problem('ip_not_allowed', {
    detail: `calls from ${visitorIp ?? 'an unknown address'} are not allowed by the program`,
  });
}

/** A browser can neither keep a key nor sign. @throws Problem `forbidden`, `ip_not_allowed`. */
export function checkBrowser(request: FastifyRequest, settings: PostbackSettings): void {
  if (!settings.pixel)
    throw new Problem('forbidden', { detail: 'the program takes no orders from browsers' });
  checkAddress(request, settings);
}

/** @throws Problem `ip_not_allowed`, `signature_required`. */
export function checkCaller(request: FastifyRequest, settings: PostbackSettings): void {
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
 * Parameters under our names; what is there under our name already wins. Tells which were renamed. A status counts under
 * its name in any case: ignored, a cancelled order would be a sale.
 */
export function renamed(
  params: Readonly<Record<string, unknown>>,
  { parameters: names }: Pick<ShopWords, 'parameters'>,
): { params: Record<string, unknown>; renames: { from: string; to: string }[] } {
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
  for (const [name, value] of Object.entries(params)) {
    const to = Object.hasOwn(names, name) ? names[name] : undefined;
    if (to === undefined) continue;
    renames.push({ from: name, to });
    if (!Object.hasOwn(ours, to) || ours[to] === '') ours[to] = value;
  }
  return { params: ours, renames };
}
