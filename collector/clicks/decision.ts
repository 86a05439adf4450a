import { ClickFlag } from '../../core/clicks/click-record.ts';
import type { ClickCaps } from '../links/caps.ts';
import type { LinkStore } from '../links/links.ts';
import type { AsnOf } from '../request/asn.ts';
import { isUnknownAddress } from '../request/client-address.ts';
import type { CountryOf } from '../request/geo.ts';
import { cutIp, withoutFingerprint } from '../request/privacy.ts';
import { cutTexts, FLOOD_TEXT_LENGTH, type Floods } from '../routing/floods.ts';
import type { Repeats } from '../routing/repeats.ts';
import { createRouter, fallbackRoute, stateFlags } from '../routing/routing.ts';
import type { Click } from './click.ts';
import { fillLocation } from './macro-values.ts';

/** Not a click: a request that the browser sent by itself would make the visitor's own click look like a repeat. */
const NO_REPEATS = ClickFlag.head | ClickFlag.prefetch | ClickFlag.forced;

/** Completes a click that has been read: its flags, its answer, and what is kept of its visitor. */
export interface Decision {
  decideRedirect(click: Click): void;
  decideImpression(click: Click): void;
}

export function createDecision(options: {
  links: Pick<LinkStore, 'blocks'>;
  countryOf: CountryOf;
  asnOf: AsnOf;
  caps: ClickCaps;
  repeats: Repeats;
  floods: Floods;
}): Decision {
  const { links, repeats, floods } = options;
  const route = createRouter(options);

  function noteFlood(click: Click): void {
    if (!floods.note(click.ip, click.ts)) return;
    click.flags |= ClickFlag.flood;
    click.encodedVisitor = click.visitor.encodedShort(FLOOD_TEXT_LENGTH);
  }

  return {
    decideRedirect(click) {
      const { link, visitor } = click;
      const block = links.blocks.find(click, options);
      const { url, flags, rule, destination } =
        block?.action === 'fallback' ? fallbackRoute(link, stateFlags(link, click.ts)) : route(link, click);
      click.flags |= block ? flags | ClickFlag.blocked : flags;
      click.rule = rule;
      click.destination = destination;
      if (
        (click.flags & NO_REPEATS) === 0 &&
        !isUnknownAddress(click.ip) &&
        repeats.note(link.linkId, click.ip, visitor.encoded, click.ts)
      ) {
        click.flags |= ClickFlag.repeat;
      }
      noteFlood(click);
      applyPrivacy(click);
      if (url) {
        click.answer = 'redirect';
        click.location = fillLocation(url, click);
        click.cookieDays = cookieDaysOf(click);
      }
      cutFlood(click);
    },
    decideImpression(click) {
      // A pixel is an image, and no page was forced to be one.
      click.flags =
        (click.flags & ~ClickFlag.forced) | stateFlags(click.link, click.ts) | ClickFlag.impression;
      noteFlood(click);
      applyPrivacy(click);
      click.answer = 'pixel';
      cutFlood(click);
    },
  };
}

/** After the redirect is made: where the visitor lands does not depend on who else shares the address. */
function cutFlood(click: Click): void {
  if ((click.flags & ClickFlag.flood) !== 0) click.traffic = cutTexts(click.traffic);
}

/** Cuts what the program does not keep, or the visitor does not want kept. Routing and repeats need it whole. */
function applyPrivacy(click: Click): void {
  const hasOptedOut = (click.flags & ClickFlag.optedOut) !== 0;
  if (hasOptedOut) click.encodedVisitor = withoutFingerprint(click.encodedVisitor);
  if (hasOptedOut || click.link.campaign.program.privacy.anonymiseIp) click.ip = cutIp(click.ip);
}

/** A click that never earns must not take the place of one that the visitor made, and that does. */
const NO_COOKIE = ClickFlag.fallback | ClickFlag.optedOut | ClickFlag.forced | ClickFlag.blocked;

/**
 * 0: no cookie, because the visitor does not land on the shop or does not want one, or the program has none; or because a
 * page forced the click, or it is blocked.
 */
function cookieDaysOf({ link, flags }: Click): number {
  return (flags & NO_COOKIE) !== 0 || !link.campaign.program.privacy.cookies ? 0 : link.campaign.cookieDays;
}
