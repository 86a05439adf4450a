import type { ClickOwner } from '../../core/clicks/click-record.ts';
import { InputError } from '../../core/errors.ts';
import { parseUrlTemplate } from '../../core/links/macros.ts';
import { parseRouting } from '../../core/links/routing.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Privacy } from '../request/privacy.ts';
import { compileRedirectUrl, type RedirectUrl } from '../request/redirect-url.ts';
import { capEntity } from './caps.ts';
import { type CompiledRouting, createRoutingCompiler, landingRoute, type Route } from './compiled-routing.ts';
import { LinkTable, type StoredLink } from './link-table.ts';

/** Everything that decides where a click goes. What links point to is updated in place. */

export interface ProgramRow extends Privacy {
  readonly id: number;
  readonly status: string;
  readonly fallbackUrl: string | null;
  readonly trackingDomain: string | null;
}

export interface CampaignRow {
  readonly id: number;
  readonly programId: number;
  readonly status: string;
  readonly startsAtMs: number | null;
  readonly endsAtMs: number | null;
  readonly fallbackUrl: string | null;
  readonly cookieDays: number;
  readonly dailyClickCap: number | null;
}

export interface AffiliateRow {
  readonly id: number;
  readonly status: string;
}

export interface Program {
  row: ProgramRow;
  status: string;
  fallback: RedirectUrl | undefined;
  privacy: Privacy;
}

export interface Campaign {
  row: CampaignRow;
  program: Program;
  status: string;
  startsAtMs: number;
  endsAtMs: number;
  fallback: RedirectUrl | undefined;
  cookieDays: number;
  /** 0: none. */
  dailyClickCap: number;
  /** Its name among the counts of capped clicks. */
  capEntity: string;
}

/** A link as the click path wants it, made of its stored form when it is first clicked. */
export interface Link extends ClickOwner {
  readonly campaign: Campaign;
  readonly affiliate: AffiliateRow;
  /** Undefined when the stored URL does not parse: such a link goes to the fallback. */
  readonly landing: Route | undefined;
  readonly routing: CompiledRouting | undefined;
  readonly isActive: boolean;
  readonly expiresAtMs: number | undefined;
  readonly dailyClickCap: number;
  /** '' without a cap. */
  readonly capEntity: string;
}

/** All parties but the links, as plain rows: what a snapshot keeps of them. */
export interface Parties {
  readonly programs: readonly ProgramRow[];
  readonly campaigns: readonly CampaignRow[];
  readonly affiliates: readonly AffiliateRow[];
}

/**
 * Links kept ready for their next click, at most some 450 bytes each: two generations of this many. Making one anew costs some
 * 5 µs, as much as the rest of a click.
 */
const READY_GENERATION_LINKS = 131_072;

export interface LinkSet {
  /** The links in flat memory; written through {@link LinkSet.putLink}. */
  readonly table: LinkTable;
  readonly size: number;
  /** The link of a code; codes are case-sensitive. */
  find(code: string): Link | undefined;
  /** The program that owns a tracking domain, for codes nobody knows. */
  programOfDomain(host: string): Program | undefined;
  putProgram(row: ProgramRow): void;
  putCampaign(row: CampaignRow): void;
  putAffiliate(row: AffiliateRow): void;
  putLink(link: StoredLink): void;
  parties(): Parties;
}

export function createLinkSet({ log }: { log: Logger }): LinkSet {
  const table = new LinkTable();
  const programs = new Map<number, Program>();
  const domains = new Map<string, Program>();
  const campaigns = new Map<number, Campaign>();
  const affiliates = new Map<number, AffiliateRow>();
  const compileRouting = createRoutingCompiler();
  let young = new Map<string, Link>();
  let old = new Map<string, Link>();

  /** What `compile` makes of a stored text; undefined, and an error in the log, when it cannot be used. */
  function usable<T>(owner: string, compile: () => T): T | undefined {
    try {
      return compile();
    } catch (error) {
      if (!(error instanceof InputError || error instanceof SyntaxError)) throw error;
      log.error({ owner, reason: error.message }, 'a stored URL or routing cannot be used');
      return undefined;
    }
  }

  function fallbackOf(url: string | null, owner: string): RedirectUrl | undefined {
    if (url === null) return undefined;
    return usable(owner, () => compileRedirectUrl(parseUrlTemplate(url, 'url'), { appendClickId: false }));
  }

  function makeLink(stored: StoredLink): Link {
    const { programId, campaignId, affiliateId, linkId, landingUrl, routing } = stored;
    const owner = `link ${linkId}`;
    const landing = usable(owner, () =>
      compileRedirectUrl(parseUrlTemplate(landingUrl, 'url'), { appendClickId: true }),
    );
    return {
      programId,
      campaignId,
      affiliateId,
      linkId,
      campaign: known(campaigns, campaignId, 'campaign'),
      affiliate: known(affiliates, affiliateId, 'affiliate'),
      landing: landing && landingRoute(landing),
      routing:
        routing === ''
          ? undefined
          : usable(owner, () => compileRouting(parseRouting(JSON.parse(routing), 'routing'))),
      isActive: stored.isActive,
      expiresAtMs: stored.expiresAtMs === Number.POSITIVE_INFINITY ? undefined : stored.expiresAtMs,
      dailyClickCap: stored.dailyClickCap,
      capEntity: stored.dailyClickCap > 0 ? capEntity('link', linkId) : '',
    };
  }

  function ready(code: string, link: Link): Link {
    if (young.size >= READY_GENERATION_LINKS) {
      old = young;
      young = new Map();
    }
    young.set(code, link);
    return link;
  }

  function find(code: string): Link | undefined {
    const link = young.get(code);
    if (link) return link;
    const older = old.get(code);
    if (older) return ready(code, older);
    const stored = table.get(code);
    return stored && ready(code, makeLink(stored));
  }

  return {
    table,
    get size() {
      return table.size;
    },
    find,
    programOfDomain: (host) => domains.get(host),
    putProgram(row) {
      const before = programs.get(row.id)?.row.trackingDomain?.toLowerCase();
      if (before !== undefined) domains.delete(before);
      const program = put(programs, row.id, {
        row,
        status: row.status,
        fallback: fallbackOf(row.fallbackUrl, `program ${row.id}`),
        privacy: row,
      });
      if (row.trackingDomain !== null) domains.set(row.trackingDomain.toLowerCase(), program);
    },
    putCampaign(row) {
      put(campaigns, row.id, {
        row,
        program: known(programs, row.programId, 'program'),
        status: row.status,
        startsAtMs: row.startsAtMs ?? 0,
        endsAtMs: row.endsAtMs ?? Number.POSITIVE_INFINITY,
        fallback: fallbackOf(row.fallbackUrl, `campaign ${row.id}`),
        cookieDays: row.cookieDays,
        dailyClickCap: row.dailyClickCap ?? 0,
        capEntity: capEntity('campaign', row.id),
      });
    },
    putAffiliate(row) {
      put(affiliates, row.id, row);
    },
    putLink(link) {
      known(campaigns, link.campaignId, 'campaign');
      known(affiliates, link.affiliateId, 'affiliate');
      table.set(link);
      young.delete(link.code);
      old.delete(link.code);
    },
    parties: () => ({
      programs: Array.from(programs.values(), ({ row }) => row),
      campaigns: Array.from(campaigns.values(), ({ row }) => row),
      affiliates: [...affiliates.values()],
    }),
  };
}

/** Updates the object that others point to, or puts a new one. */
function put<T extends object>(map: Map<number, T>, id: number, fields: T): T {
  const existing = map.get(id);
  if (existing) return Object.assign(existing, fields);
  map.set(id, fields);
  return fields;
}

function known<T>(map: Map<number, T>, id: number, kind: string): T {
  const found = map.get(id);
  if (!found) throw new Error(`${kind} ${id} is missing although a foreign key requires it`);
  return found;
}
