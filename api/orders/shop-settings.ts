import type { FastifyRequest } from 'fastify';
import { createNetworkMatcher, parseIp } from '../../core/ip.ts';
import { getPostbackSettings, type PostbackSettings } from '../../ledger/integrations/postback-settings.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { Problem } from '../http/problems.ts';
import { STATUS_FIELDS } from './order-status.ts';

/** A change of the settings is in force within this. */
const FRESH_MS = 1_000;

export interface ShopSettings {
  of(programId: number): Promise<PostbackSettings>;
}

/** The settings of programs, each read once a second at the most. */
export function createShopSettings({ ledger }: { ledger: Database }): ShopSettings {
  const known = new Map<number, { readonly at: number; readonly settings: Promise<PostbackSettings> }>();
  return {
    of(programId) {
      const now = Date.now();
      const before = known.get(programId);
      if (before && now - before.at < FRESH_MS) return before.settings;
      const settings = getPostbackSettings(ledger, programId);
      settings.catch(() => known.delete(programId));
      known.set(programId, { at: now, settings });
      return settings;
    },
  };
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
 * Parameters under our names; what is there under our name already wins. Tells which were renamed. A status counts under
 * its name in any case: ignored, a cancelled order would be a sale.
 */
export function renamed(
  params: Readonly<Record<string, unknown>>,
  names: Readonly<Record<string, string>>,
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
