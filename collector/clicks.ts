import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { ClickFlag, type ClickParts } from '../core/click-record.ts';
import { formatIp } from '../core/ip.ts';
import type { MacroName } from '../core/macros.ts';
import type { ClientAddressReader } from './client-address.ts';
import type { Clock } from './clock.ts';
import type { Committer, PendingClick } from './committer.ts';
import type { Link, LinkStore } from './links.ts';
import type { OutcomeCounts } from './outcomes.ts';
import { readTraffic } from './query.ts';
import { fillRedirectUrl, type RedirectUrl, withClickId } from './redirect-url.ts';
import { route } from './routing.ts';
import type { Visitor } from './visitors.ts';

/** Longest code or slug. */
const MAX_CODE_LENGTH = 64;
/** A query of this length already holds every parameter of the largest trackers; a row must stay small. */
const MAX_QUERY_LENGTH = 8_192;
/** Longer referrers are cut. */
const MAX_REFERRER_LENGTH = 2_048;
/** When a click cannot be made durable, the visitor's browser may try again after this. */
const RETRY_AFTER_SECONDS = '1';
const SECONDS_PER_DAY = 86_400;

const CODE = /^[A-Za-z0-9_-]+$/;

export interface ClickHandlerOptions {
  links: LinkStore;
  committer: Committer;
  clock: Clock;
  clientAddress: ClientAddressReader;
  visitorOf: (userAgent: string, acceptLanguage: string) => Visitor;
  outcomes: OutcomeCounts;
  /** The public URL is https, so the cookie may only travel over https. */
  secureCookie: boolean;
}

/** The handler of `GET` and `HEAD /c/{code}`. */
export function createClickHandler(
  options: ClickHandlerOptions,
): (response: HttpResponse, request: HttpRequest, isHead: boolean) => void {
  const { links, committer, clock, clientAddress, visitorOf, outcomes } = options;

  let attributesOfDays = -1;
  let attributes = '';
  /** The cookie's attributes; campaigns with another life than the last one's are rare. */
  function cookieAttributes(days: number): string {
    if (days !== attributesOfDays) {
      attributesOfDays = days;
      attributes = `; Max-Age=${days * SECONDS_PER_DAY}; Path=/; HttpOnly; SameSite=Lax${options.secureCookie ? '; Secure' : ''}`;
    }
    return attributes;
  }

  function refuse(response: HttpResponse, status: string, text: string): void {
    response.writeStatus(status).writeHeader('Cache-Control', 'no-store').end(`${text}\n`);
  }

  function unknownCode(response: HttpResponse, request: HttpRequest): void {
    const host = request.getHeader('host').toLowerCase();
    const program = links.programOfDomain(host) ?? links.programOfDomain(host.replace(/:\d+$/, ''));
    // There is no click to fill macros from: a fallback that needs one cannot serve an unknown code.
    const location = program?.fallback?.constant;
    if (location === undefined) {
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

  /** One click from its request to its answer: a class, so that a click costs one object and one closure. */
  class Click implements PendingClick {
    node = 0;
    seq = 0;
    #aborted = false;
    readonly ts: number;
    readonly owner: Buffer;
    readonly ip: Uint8Array;
    readonly flags: number;
    readonly rule: number;
    readonly destination: number;
    readonly visitor: Buffer;
    readonly traffic: readonly string[];
    readonly #response: HttpResponse;
    /** Undefined: the link is gone. */
    readonly #location: string | undefined;
    readonly #cookieDays: number;
    readonly #isHead: boolean;

    constructor(
      row: Omit<ClickParts, 'node' | 'seq'>,
      to: { response: HttpResponse; location: string | undefined; cookieDays: number; isHead: boolean },
    ) {
      this.ts = row.ts;
      this.owner = row.owner;
      this.ip = row.ip;
      this.flags = row.flags;
      this.rule = row.rule;
      this.destination = row.destination;
      this.visitor = row.visitor;
      this.traffic = row.traffic;
      this.#response = to.response;
      this.#location = to.location;
      this.#cookieDays = to.cookieDays;
      this.#isHead = to.isHead;
      to.response.onAborted(() => {
        this.#aborted = true;
        outcomes.aborted++;
      });
    }

    // Touching a response whose client has gone would end the process.
    redirect(clickId: string): void {
      if (this.#aborted) return;
      this.#response.cork(() => this.#write(clickId));
    }

    refuse(): void {
      if (!this.#aborted) this.#response.cork(() => unavailable(this.#response));
    }

    #write(clickId: string): void {
      const response = this.#response;
      if (this.#location === undefined) {
        outcomes.gone++;
        refuse(response, '410 Gone', 'code: this link is no longer active');
        return;
      }
      outcomes.redirected++;
      response
        .writeStatus('302 Found')
        .writeHeader('Location', withClickId(this.#location, clickId))
        .writeHeader('Cache-Control', 'no-store');
      if (this.#cookieDays > 0) {
        response.writeHeader('Set-Cookie', `aff_click=${clickId}${cookieAttributes(this.#cookieDays)}`);
      }
      if (this.#isHead) response.endWithoutBody(0);
      else response.end();
    }
  }

  function unavailable(response: HttpResponse): void {
    outcomes.unavailable++;
    response
      .writeStatus('503 Service Unavailable')
      .writeHeader('Retry-After', RETRY_AFTER_SECONDS)
      .writeHeader('Cache-Control', 'no-store')
      .end('the click could not be stored in time; please try again\n');
  }

  return (response, request, isHead) => {
    const code = request.getParameter(0) ?? '';
    const query = request.getQuery() ?? '';
    if (query.length > MAX_QUERY_LENGTH) {
      outcomes.query_too_long++;
      refuse(response, '414 URI Too Long', `query: must not exceed ${MAX_QUERY_LENGTH} characters`);
      return;
    }
    const link = links.find(code);
    if (!link) {
      if (code.length <= MAX_CODE_LENGTH && CODE.test(code)) {
        unknownCode(response, request);
        return;
      }
      outcomes.malformed_code++;
      refuse(response, '404 Not Found', `code: must be 1 to ${MAX_CODE_LENGTH} of A-Z a-z 0-9 _ -`);
      return;
    }
    const ts = clock.now();
    const way = route(link, ts);
    const visitor = visitorOf(request.getHeader('user-agent'), request.getHeader('accept-language'));
    const ip = clientAddress(response, () => request.getHeader('x-forwarded-for'));
    const traffic = readTraffic(request.getHeader('referer').slice(0, MAX_REFERRER_LENGTH), query);
    const click = new Click(
      {
        ts,
        owner: link.owner,
        ip,
        flags: way.flags | requestFlags(request, visitor, isHead),
        rule: way.rule,
        destination: way.destination,
        visitor: visitor.encoded,
        traffic,
      },
      {
        response,
        location: way.url && fillLocation(way.url, { link, ts, ip, visitor, traffic }),
        cookieDays: (way.flags & ClickFlag.fallback) === 0 ? link.campaign.cookieDays : 0,
        isHead,
      },
    );
    if (!committer.accept(click)) click.refuse();
  };
}

function requestFlags(request: HttpRequest, visitor: Visitor, isHead: boolean): number {
  let flags = 0;
  if (visitor.isBot) flags |= ClickFlag.bot;
  if (isHead) flags |= ClickFlag.head;
  const purpose = request.getHeader('sec-purpose');
  if (purpose !== '' && purpose.includes('prefetch')) flags |= ClickFlag.prefetch;
  return flags;
}

interface MacroSource {
  link: Link;
  ts: number;
  ip: Uint8Array;
  visitor: Visitor;
  /** Referrer, sub1–5, UTM ×5, rest. */
  traffic: readonly string[];
}

function fillLocation(url: RedirectUrl, source: MacroSource): string {
  return url.constant ?? fillRedirectUrl(url, (macro) => MACRO_VALUES[macro](source));
}

const MACRO_VALUES: Readonly<Record<Exclude<MacroName, 'click_id'>, (source: MacroSource) => string>> = {
  ts: ({ ts }) => String(ts),
  program_id: ({ link }) => String(link.programId),
  campaign_id: ({ link }) => String(link.campaignId),
  affiliate_id: ({ link }) => String(link.affiliateId),
  link_id: ({ link }) => String(link.linkId),
  ip: ({ ip }) => formatIp(ip),
  device: ({ visitor }) => visitor.device,
  os: ({ visitor }) => visitor.os,
  browser: ({ visitor }) => visitor.browser,
  language: ({ visitor }) => visitor.language,
  user_agent: ({ visitor }) => visitor.userAgent,
  referrer: ({ traffic }) => traffic[0] ?? '',
  sub1: ({ traffic }) => traffic[1] ?? '',
  sub2: ({ traffic }) => traffic[2] ?? '',
  sub3: ({ traffic }) => traffic[3] ?? '',
  sub4: ({ traffic }) => traffic[4] ?? '',
  sub5: ({ traffic }) => traffic[5] ?? '',
  utm_source: ({ traffic }) => traffic[6] ?? '',
  utm_medium: ({ traffic }) => traffic[7] ?? '',
  utm_campaign: ({ traffic }) => traffic[8] ?? '',
  utm_term: ({ traffic }) => traffic[9] ?? '',
  utm_content: ({ traffic }) => traffic[10] ?? '',
};
