import { ClickFlag } from '../../core/clicks/click-record.ts';
import type { ClickCaps } from '../links/caps.ts';
import type { CountryOf } from '../request/geo.ts';
import { cutIp, withoutFingerprint } from '../request/privacy.ts';
import type { Repeats } from '../routing/repeats.ts';
import { createRouter, stateFlags } from '../routing/routing.ts';
import type { Click } from './click.ts';
import { fillLocation } from './macro-values.ts';

/** Not a click: a request that the browser sent ahead would make the visitor's own click look like a repeat. */
const NO_REPEATS = ClickFlag.head | ClickFlag.prefetch;

/** Completes a click that has been read: its flags, its answer, and what is kept of its visitor. */
export interface Decision {
  decideRedirect(click: Click): void;
  decideImpression(click: Click): void;
}

export function createDecision(options: {
  countryOf: CountryOf;
  caps: ClickCaps;
  repeats: Repeats;
}): Decision {
  const { repeats } = options;
  const route = createRouter(options);

  return {
    decideRedirect(click) {
      const { link, visitor } = click;
      const { url, flags, rule, destination } = route(link, click);
      click.flags |= flags;
      click.rule = rule;
      click.destination = destination;
      if (
        (click.flags & NO_REPEATS) === 0 &&
        repeats.note(link.linkId, click.ip, visitor.encoded, click.ts)
      ) {
        click.flags |= ClickFlag.repeat;
      }
      applyPrivacy(click);
      if (!url) return;
      click.answer = 'redirect';
      click.location = url.constant ?? fillLocation(url, click);
      click.cookieDays = cookieDaysOf(click);
    },
    decideImpression(click) {
      click.flags |= stateFlags(click.link, click.ts) | ClickFlag.impression;
      applyPrivacy(click);
      click.answer = 'pixel';
    },
  };
}

/** Cuts what the program does not keep, or the visitor does not want kept. Routing and repeats need it whole. */
function applyPrivacy(click: Click): void {
  const hasOptedOut = (click.flags & ClickFlag.optedOut) !== 0;
  if (hasOptedOut) click.encodedVisitor = withoutFingerprint(click.encodedVisitor);
  if (hasOptedOut || click.link.campaign.program.privacy.anonymiseIp) click.ip = cutIp(click.ip);
}

/** 0: no cookie, because the visitor does not land on the shop or does not want one, or the program has none. */
function cookieDaysOf({ link, flags }: Click): number {
  const isUnwanted = (flags & (ClickFlag.fallback | ClickFlag.optedOut)) !== 0;
  return isUnwanted || !link.campaign.program.privacy.cookies ? 0 : link.campaign.cookieDays;
}
