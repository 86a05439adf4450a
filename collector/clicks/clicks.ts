import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import {
  ClickFlag,
  type ClickOwner,
  type ClickParts,
  INVALID_CLICK_FLAGS,
} from '../../core/clicks/click-record.ts';
import { DAY_S } from '../../core/time.ts';
import type { Clock } from '../durability/clock.ts';
import type { Committer, PendingClick } from '../durability/committer.ts';
import type { ClickCaps } from '../links/caps.ts';
import type { Link } from '../links/link-set.ts';
import type { LinkStore } from '../links/links.ts';
import type { ClientAddressReader } from '../request/client-address.ts';
import type { CountryOf } from '../request/geo.ts';
import { cutIp, hasOptedOut, withoutFingerprint } from '../request/privacy.ts';
import { readTraffic } from '../request/query.ts';
import { type UrlPieces, withClickId } from '../request/redirect-url.ts';
import type { Visitor } from '../request/visitors.ts';
import type { Repeats } from '../routing/repeats.ts';
import { createRouter, stateFlags } from '../routing/routing.ts';
import { endHead } from './head.ts';
import { fillLocation } from './macro-values.ts';
import type { FlagCounts, OutcomeCounts } from './outcomes.ts';

/** Longest code or slug. */
const MAX_CODE_LENGTH = 64;
/** A query of this length already holds every parameter of the largest trackers; a row must stay small. */
const MAX_QUERY_LENGTH = 8_192;
/** Longer referrers are cut. */
const MAX_REFERRER_LENGTH = 2_048;
/** When a click cannot be made durable, the visitor's browser may try again after this. */
const RETRY_AFTER_SECONDS = '1';

const CODE = /^[A-Za-z0-9_-]+$/;
const PIXEL_SUFFIX = '.gif';
/** One transparent pixel: GIF89a, 43 bytes. */
const PIXEL = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');

type Handler = (response: HttpResponse, request: HttpRequest, isHead: boolean) => void;

/** What the two handlers know of a request for a link. */
interface LinkRequest {
  readonly link: Link;
  readonly query: string;
  readonly ts: number;
  /** Whole. */
  readonly ip: Uint8Array;
  readonly visitor: Visitor;
  /** bot, head, prefetch, optedOut. */
  readonly flags: number;
}

/** The handlers of `GET` and `HEAD` of `/c/{code}` and of `/i/{code}.gif`. */
export function createClickHandlers(options: {
  links: LinkStore;
  committer: Committer;
  clock: Clock;
  clientAddress: ClientAddressReader;
  visitorOf: (userAgent: string, acceptLanguage: string) => Visitor;
  countryOf: CountryOf;
  caps: ClickCaps;
  repeats: Repeats;
  outcomes: OutcomeCounts;
  flagCounts: FlagCounts;
  /** The collector is about to end: its answers ask clients to connect anew. */
  isClosing: () => boolean;
  /** The public URL is https, so the cookie may only travel over https. */
  secureCookie: boolean;
}): { click: Handler; impression: Handler } {
  const {
    links,
    committer,
    clock,
    clientAddress,
    visitorOf,
    countryOf,
    caps,
    repeats,
    outcomes,
    flagCounts,
    isClosing,
  } = options;
  const route = createRouter({ countryOf, caps });

  let attributesOfDays = -1;
  let attributes = '';
  /** The cookie's attributes; campaigns with another life than the last one's are rare. */
  function cookieAttributes(days: number): string {
    if (days !== attributesOfDays) {
      attributesOfDays = days;
      attributes = `; Max-Age=${days * DAY_S}; Path=/; HttpOnly; SameSite=Lax${options.secureCookie ? '; Secure' : ''}`;
    }
    return attributes;
  }

  function refuse(response: HttpResponse, status: string, text: string): void {
    response.writeStatus(status).writeHeader('Cache-Control', 'no-store').end(`${text}\n`);
  }

  function refuseForNow(response: HttpResponse, text: string): void {
    response
      .writeStatus('503 Service Unavailable')
      .writeHeader('Retry-After', RETRY_AFTER_SECONDS)
      .writeHeader('Cache-Control', 'no-store')
      .end(`${text}\n`);
  }

  function unknownCode(response: HttpResponse, request: HttpRequest, mayRedirect: boolean): void {
    const host = request.getHeader('host').toLowerCase();
    const program = links.programOfDomain(host) ?? links.programOfDomain(host.replace(/:\d+$/, ''));
    // There is no click to fill macros from: a fallback that needs one cannot serve an unknown code.
    const location = program?.fallback?.constant;
    if (location === undefined || !mayRedirect) {
      outcomes.unknown_code++;
      refuse(response, '404 Not Found', 'code: no such link');
      return;
    }
    outcomes.unknown_code_fallback++;
    response
      .writeStatus('302 Found')
      .writeHeader('Location', withClickId(location, ''))
      .writeHeader('Cache-Control', 'no-store')
      .end();
  }

  /** The link that is asked for, or undefined when the request has been answered. */
  function findLink(
    response: HttpResponse,
    request: HttpRequest,
    asked: { code: string; query: string; mayRedirect: boolean },
  ): Link | undefined {
    const { code, query, mayRedirect } = asked;
    if (query.length > MAX_QUERY_LENGTH) {
      outcomes.query_too_long++;
      refuse(response, '414 URI Too Long', `query: must not exceed ${MAX_QUERY_LENGTH} characters`);
      return undefined;
    }
    const link = links.find(code);
    if (link) return link;
    if (code.length > MAX_CODE_LENGTH || !CODE.test(code)) {
      outcomes.malformed_code++;
      refuse(response, '404 Not Found', `code: must be 1 to ${MAX_CODE_LENGTH} of A-Z a-z 0-9 _ -`);
      return undefined;
    }
    if (links.freshAtMs === 0) {
      outcomes.not_loaded++;
      refuseForNow(response, 'the links are not loaded yet; please try again');
    } else {
      unknownCode(response, request, mayRedirect);
    }
    return undefined;
  }

  function readRequest(
    response: HttpResponse,
    request: HttpRequest,
    asked: { link: Link; query: string; isHead: boolean },
  ): LinkRequest {
    const { link, query, isHead } = asked;
    const visitor = visitorOf(request.getHeader('user-agent'), request.getHeader('accept-language'));
    const ip = clientAddress(response, request);
    let flags = requestFlags(request, visitor, isHead);
    if (link.campaign.program.privacy.honourOptOut && hasOptedOut(request)) flags |= ClickFlag.optedOut;
    return { link, query, ts: clock.now(), ip, visitor, flags };
  }

  function record(click: Click, link: Link): void {
    if (!committer.accept(click)) {
      click.refuse();
      return;
    }
    flagCounts.add(click.flags);
    if ((click.flags & INVALID_CLICK_FLAGS) === 0) count(link, click.ts);
  }

  function count({ dailyClickCap, capEntity, campaign }: Link, ts: number): void {
    if (dailyClickCap > 0) caps.count(capEntity, ts);
    if (campaign.dailyClickCap > 0) caps.count(campaign.capEntity, ts);
  }

  /** What is written of a click, and what its visitor is sent. */
  interface ClickFields extends Omit<ClickParts, 'node' | 'seq'> {
    readonly reply: (click: Click, clickId: string) => void;
    readonly location: UrlPieces;
    readonly cookieDays: number;
    readonly isHead: boolean;
  }

  /** The click whose answer is being written. */
  let answered: Click | undefined;
  let answeredId = '';
  /** One function for all answers. */
  const writeAnswer = (): void => answered?.reply(answered, answeredId);

  /** One click from its request to its answer: one object, because spreads and closures were half of its cost. */
  class Click implements PendingClick, ClickFields {
    node = 0;
    seq = 0;
    readonly ts: number;
    readonly owner: ClickOwner;
    readonly ip: Uint8Array;
    readonly flags: number;
    readonly rule: number;
    readonly destination: number;
    readonly visitor: Buffer;
    readonly traffic: readonly string[];
    readonly reply: (click: Click, clickId: string) => void;
    readonly location: UrlPieces;
    readonly cookieDays: number;
    readonly isHead: boolean;
    readonly response: HttpResponse;
    /** Touching a response whose client has gone would end the process. */
    isAborted = false;

    constructor(response: HttpResponse, fields: ClickFields) {
      this.ts = fields.ts;
      this.owner = fields.owner;
      this.ip = fields.ip;
      this.flags = fields.flags;
      this.rule = fields.rule;
      this.destination = fields.destination;
      this.visitor = fields.visitor;
      this.traffic = fields.traffic;
      this.reply = fields.reply;
      this.location = fields.location;
      this.cookieDays = fields.cookieDays;
      this.isHead = fields.isHead;
      this.response = response;
      response.onAborted(() => {
        this.isAborted = true;
        outcomes.aborted++;
      });
    }

    redirect(clickId: string): void {
      if (this.isAborted) return;
      answered = this;
      answeredId = clickId;
      this.response.cork(writeAnswer);
    }

    refuse(): void {
      if (this.isAborted) return;
      outcomes.unavailable++;
      this.response.cork(() => {
        refuseForNow(this.response, 'the click could not be stored in time; please try again');
      });
    }
  }

  function sendRedirect({ response, location, cookieDays, isHead }: Click, clickId: string): void {
    outcomes.redirected++;
    response
      .writeStatus('302 Found')
      .writeHeader('Location', withClickId(location, clickId))
      .writeHeader('Cache-Control', 'no-store');
    if (cookieDays > 0) {
      response.writeHeader('Set-Cookie', `aff_click=${clickId}${cookieAttributes(cookieDays)}`);
    }
    if (isHead) endHead(response, 0);
    else response.end(undefined, isClosing());
  }

  function sendGone({ response }: Click): void {
    outcomes.gone++;
    refuse(response, '410 Gone', 'code: this link is no longer active');
  }

  function sendPixel({ response, isHead }: Click): void {
    outcomes.impression++;
    response
      .writeHeader('Content-Type', 'image/gif')
      .writeHeader('Cache-Control', 'no-store')
      .writeHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    if (isHead) endHead(response, PIXEL.length);
    else response.end(PIXEL);
  }

  function click(response: HttpResponse, request: HttpRequest, isHead: boolean): void {
    const code = request.getParameter(0) ?? '';
    const query = request.getQuery() ?? '';
    const link = findLink(response, request, { code, query, mayRedirect: true });
    if (!link) return;
    const asked = readRequest(response, request, { link, query, isHead });
    const { ts, visitor } = asked;
    const way = route(link, asked);
    let flags = asked.flags | way.flags;
    if ((flags & NO_REPEATS) === 0 && repeats.note(link.linkId, asked.ip, visitor.encoded, ts)) {
      flags |= ClickFlag.repeat;
    }
    const ip = writtenIp(asked);
    const traffic = readTraffic(readReferrer(request), query);
    const { rule, destination, url } = way;
    record(
      new Click(response, {
        ts,
        owner: link,
        ip,
        flags,
        rule,
        destination,
        visitor: writtenVisitor(asked),
        traffic,
        reply: url ? sendRedirect : sendGone,
        location: url ? (url.constant ?? fillLocation(url, { link, ts, ip, visitor, traffic })) : NOWHERE,
        cookieDays: cookieDays(link, flags),
        isHead,
      }),
      link,
    );
  }

  function impression(response: HttpResponse, request: HttpRequest, isHead: boolean): void {
    const file = request.getParameter(0) ?? '';
    const query = request.getQuery() ?? '';
    const code = file.endsWith(PIXEL_SUFFIX) ? file.slice(0, -PIXEL_SUFFIX.length) : '';
    const link = findLink(response, request, { code, query, mayRedirect: false });
    if (!link) return;
    const asked = readRequest(response, request, { link, query, isHead });
    record(
      new Click(response, {
        ts: asked.ts,
        owner: link,
        ip: writtenIp(asked),
        flags: asked.flags | stateFlags(link, asked.ts) | ClickFlag.impression,
        rule: 0,
        destination: 0,
        visitor: writtenVisitor(asked),
        traffic: readTraffic(readReferrer(request), query),
        reply: sendPixel,
        location: NOWHERE,
        cookieDays: 0,
        isHead,
      }),
      link,
    );
  }

  return { click, impression };
}

const NOWHERE: UrlPieces = [];

/** Nobody clicked: what the browser fetched ahead would make the visitor's own click look like a repeat. */
const NO_REPEATS = ClickFlag.head | ClickFlag.prefetch;

function requestFlags(request: HttpRequest, visitor: Visitor, isHead: boolean): number {
  let flags = 0;
  if (visitor.isBot) flags |= ClickFlag.bot;
  if (isHead) flags |= ClickFlag.head;
  const purpose = request.getHeader('sec-purpose');
  if (purpose !== '' && purpose.includes('prefetch')) flags |= ClickFlag.prefetch;
  return flags;
}

function readReferrer(request: HttpRequest): string {
  const referrer = request.getHeader('referer');
  return referrer.length > MAX_REFERRER_LENGTH ? referrer.slice(0, MAX_REFERRER_LENGTH) : referrer;
}

function writtenVisitor({ visitor, flags }: LinkRequest): Buffer {
  return flags & ClickFlag.optedOut ? withoutFingerprint(visitor.encoded) : visitor.encoded;
}

function writtenIp({ link, ip, flags }: LinkRequest): Uint8Array {
  const isCut = link.campaign.program.privacy.anonymiseIp || (flags & ClickFlag.optedOut) !== 0;
  return isCut ? cutIp(ip) : ip;
}

/** 0: no cookie, because the visitor does not land on the shop or does not want one, or the program has none. */
function cookieDays({ campaign }: Link, flags: number): number {
  const isUnwanted = (flags & (ClickFlag.fallback | ClickFlag.optedOut)) !== 0;
  return isUnwanted || !campaign.program.privacy.cookies ? 0 : campaign.cookieDays;
}
