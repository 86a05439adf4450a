import { ClickFlag } from '../core/click-record.ts';
import type { Link } from './links.ts';
import type { RedirectUrl } from './redirect-url.ts';

/** Where a click on a known link goes, and the flags that say why. */
export interface Route {
  /** Undefined: the link is gone and there is no fallback (410). */
  readonly url: RedirectUrl | undefined;
  readonly flags: number;
  /** Number of the rule that chose, from 1; 0: none. */
  readonly rule: number;
  /** Which of the weighted destinations, from 0. */
  readonly destination: number;
}

/** An active link leads to its landing page; any other to its campaign's fallback, its program's, or nowhere. */
export function route(link: Link, nowMs: number): Route {
  const flags = stateFlags(link, nowMs);
  if (flags === 0 && link.landing) return { url: link.landing, flags, rule: 0, destination: 0 };
  const fallback = link.campaign.fallback ?? link.campaign.program.fallback;
  return { url: fallback, flags: fallback ? flags | ClickFlag.fallback : flags, rule: 0, destination: 0 };
}

function stateFlags(link: Link, nowMs: number): number {
  const { campaign, affiliate } = link;
  let flags = 0;
  if (
    link.status !== 'active' ||
    campaign.status === 'paused' ||
    campaign.program.status !== 'active' ||
    nowMs < campaign.startsAtMs
  ) {
    flags |= ClickFlag.paused;
  }
  if (campaign.status === 'ended' || nowMs >= link.expiresAtMs || nowMs >= campaign.endsAtMs)
    flags |= ClickFlag.expired;
  if (affiliate.status !== 'active') flags |= ClickFlag.suspended;
  return flags;
}
