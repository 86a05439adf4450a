import { ClickFlag } from '../../core/clicks/click-record.ts';
import type { ClickCaps } from '../links/caps.ts';
import type { CompiledRouting, CompiledRule, Draw, Route } from '../links/compiled-routing.ts';
import type { Link } from '../links/link-set.ts';
import type { CountryOf } from '../request/geo.ts';
import type { Visitor } from '../request/visitors.ts';

/** The properties of a click that routing looks at. */
export interface Visit {
  readonly ts: number;
  /** Whole, also when less of it is written. */
  readonly ip: Uint8Array;
  readonly visitor: Pick<Visitor, 'device' | 'os' | 'language'>;
}

/**
 * An active link leads to the destination of its routing, or to its landing page; any other, and one that has reached
 * its daily cap, to its campaign's fallback, else its program's, else nowhere (410).
 */
export function createRouter(options: {
  countryOf: CountryOf;
  caps: Pick<ClickCaps, 'isReached'>;
  /** At least 0, below 1. */
  random?: () => number;
}): (link: Link, visit: Visit) => Route {
  const { countryOf, caps, random = Math.random } = options;

  function isCapped(link: Link, visit: Visit): boolean {
    const { campaign } = link;
    return (
      (link.dailyClickCap > 0 && caps.isReached(link.capEntity, link.dailyClickCap, visit)) ||
      (campaign.dailyClickCap > 0 && caps.isReached(campaign.capEntity, campaign.dailyClickCap, visit))
    );
  }

  function drawFrom({ urls, ends, total }: Draw, rule: number): Route {
    const drawn = random() * total;
    let destination = 0;
    while (destination < ends.length - 1 && drawn >= (ends[destination] ?? total)) destination++;
    return { url: urls[destination], flags: 0, rule, destination };
  }

  function follow(routing: CompiledRouting, visit: Visit): Route | undefined {
    // The country is looked up for the first rule that needs it, and only then.
    let country: string | undefined;
    for (const [i, rule] of routing.rules.entries()) {
      if (!matchesVisitor(rule, visit)) continue;
      if (rule.countries) {
        country ??= countryOf(visit.ip);
        if (!rule.countries.has(country)) continue;
      }
      return drawFrom(rule.draw, i + 1);
    }
    return routing.draw && drawFrom(routing.draw, 0);
  }

  return (link, visit) => {
    let flags = stateFlags(link, visit.ts);
    if (flags === 0 && isCapped(link, visit)) flags = ClickFlag.capped;
    if (flags === 0) {
      const route = (link.routing && follow(link.routing, visit)) ?? link.landing;
      if (route) return route;
    }
    return fallbackRoute(link, flags);
  };
}

/** To the fallback of the campaign, else of the program, else nowhere; with the flags that say why. */
export function fallbackRoute({ campaign }: Link, flags: number): Route {
  const url = campaign.fallback ?? campaign.program.fallback;
  return { url, flags: url ? flags | ClickFlag.fallback : flags, rule: 0, destination: 0 };
}

function matchesVisitor(rule: CompiledRule, { ts, visitor }: Visit): boolean {
  if (rule.devices && !rule.devices.has(visitor.device)) return false;
  if (rule.os && !rule.os.has(visitor.os.toLowerCase())) return false;
  if (rule.languages && !matchesLanguage(rule.languages, visitor.language.toLowerCase())) return false;
  return rule.isOpen === undefined || rule.isOpen(ts);
}

/** "de" matches "de" and "de-AT"; "de-at" matches only itself. */
function matchesLanguage(languages: ReadonlySet<string>, tag: string): boolean {
  if (languages.has(tag)) return true;
  const end = tag.indexOf('-');
  return end > 0 && languages.has(tag.slice(0, end));
}

/** The flags of a link that does not lead to its destination now; 0: it does. */
export function stateFlags(link: Link, nowMs: number): number {
  const { campaign } = link;
  let flags = 0;
  if (
    !link.isActive ||
    campaign.status === 'paused' ||
    campaign.program.status !== 'active' ||
    nowMs < campaign.startsAtMs
  ) {
    flags |= ClickFlag.paused;
  }
  if (
    campaign.status === 'ended' ||
    nowMs >= campaign.endsAtMs ||
    (link.expiresAtMs !== undefined && nowMs >= link.expiresAtMs)
  ) {
    flags |= ClickFlag.expired;
  }
  if (link.affiliate.status !== 'active') flags |= ClickFlag.suspended;
  return flags;
}
