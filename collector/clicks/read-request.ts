import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { ClickFlag } from '../../core/clicks/click-record.ts';
import { readRequestId } from '../../core/net/request-id.ts';
import type { Clock } from '../durability/clock.ts';
import type { Link } from '../links/link-set.ts';
import type { ClientAddressReader } from '../request/client-address.ts';
import { hasOptedOut } from '../request/privacy.ts';
import { readTraffic } from '../request/query.ts';
import type { Visitor, VisitorOf } from '../request/visitors.ts';
import { Click } from './click.ts';

/** Longer referrers are cut. */
const MAX_REFERRER_LENGTH = 2_048;

/** Reads everything that is wanted of a request, which is gone when its handler returns. */
export type RequestReader = (
  response: HttpResponse,
  request: HttpRequest,
  known: { link: Link; query: string; isHead: boolean },
) => Click;

export function createRequestReader(options: {
  clock: Clock;
  clientAddress: ClientAddressReader;
  visitorOf: VisitorOf;
}): RequestReader {
  const { clock, clientAddress, visitorOf } = options;
  return (response, request, { link, query, isHead }) => {
    const visitor = visitorOf(request.getHeader('user-agent'), request.getHeader('accept-language'));
    return new Click(response, {
      link,
      ts: clock.now(),
      ip: clientAddress(response, request),
      visitor,
      traffic: readTraffic(readReferrer(request), query),
      flags: readFlags(request, { link, visitor, isHead }),
      isHead,
      requestId: requestIdOf(request),
    });
  };
}

/** The id that the request came with, which its answer repeats; nearly none has one. */
export function requestIdOf(request: HttpRequest): string {
  const header = request.getHeader('x-request-id');
  return header === '' ? '' : readRequestId(header);
}

function readReferrer(request: HttpRequest): string {
  const referrer = request.getHeader('referer');
  return referrer.length > MAX_REFERRER_LENGTH ? referrer.slice(0, MAX_REFERRER_LENGTH) : referrer;
}

function readFlags(
  request: HttpRequest,
  { link, visitor, isHead }: { link: Link; visitor: Visitor; isHead: boolean },
): number {
  let flags = 0;
  if (visitor.isBot) flags |= ClickFlag.bot;
  if (isHead) flags |= ClickFlag.head;
  if (isSpeculative(request)) flags |= ClickFlag.prefetch;
  if (isForced(request)) flags |= ClickFlag.forced;
  if (link.campaign.program.privacy.honourOptOut && hasOptedOut(request)) flags |= ClickFlag.optedOut;
  return flags;
}

/**
 * Where browsers and apps say that they fetch ahead of a click: `Sec-Purpose`
 * (https://wicg.github.io/nav-speculation/prefetch.html), `Purpose` of Chromium and Safari, `X-Purpose` of Safari and of
 * the Facebook app, `X-Moz` of Firefox before 115.
 */
const PURPOSE_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const;
const SPECULATIVE = /\b(?:prefetch|prerender|preview|instant)\b/i;

/** Whether no user has clicked yet: the browser fetches what its user could click next, or a preview of it. */
function isSpeculative(request: HttpRequest): boolean {
  for (const name of PURPOSE_HEADERS) {
    const purpose = request.getHeader(name);
    if (purpose !== '' && SPECULATIVE.test(purpose)) return true;
  }
  return false;
}

/**
 * Whether a page loaded the link without a click: as an image, a script, a frame, or by a request of a script. A click is
 * a navigation of a whole tab (`document`). Browsers let no page change these headers
 * (https://www.w3.org/TR/fetch-metadata/); old ones and apps send neither.
 */
function isForced(request: HttpRequest): boolean {
  const destination = request.getHeader('sec-fetch-dest');
  if (destination !== '' && destination !== 'document') return true;
  return request.getHeader('sec-fetch-mode') === 'no-cors';
}
