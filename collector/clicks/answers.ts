import type { HttpResponse } from 'uWebSockets.js';
import { PIXEL_GIF, PIXEL_MEDIA_TYPE } from '../../core/pixel.ts';
import { DAY_S } from '../../core/time.ts';
import type { Recipient } from '../durability/committer.ts';
import { withClickId } from '../request/redirect-url.ts';
import type { Click } from './click.ts';
import type { OutcomeCounts } from './outcomes.ts';

/** A visitor whose click could not be stored is asked to try again after this. */
const RETRY_AFTER_SECONDS = '1';

/** Answers clicks; each exactly once, and not at all when its client has gone. */
export interface Answers extends Recipient<Click> {
  /**
   * Refuses a fetch ahead of a click. A browser keeps a redirect for the visit and sends no second request; after 503 it
   * asks again when its user clicks (https://wicg.github.io/nav-speculation/prefetch.html).
   */
  refuseSpeculative(click: Click): void;
}

export function createAnswers(options: {
  outcomes: OutcomeCounts;
  /** The collector is about to end: its answers ask clients to connect again. */
  isClosing: () => boolean;
  /** Of a public URL that is https, where the cookie may only travel over https as well. */
  strictTransport: string | undefined;
}): Answers {
  const { outcomes, isClosing, strictTransport } = options;
  const cookieAttributes = createCookieAttributes(strictTransport !== undefined);

  function redirect({ response, requestId, location, cookieDays, isHead }: Click, clickId: string): void {
    outcomes.redirected++;
    response
      .writeStatus('302 Found')
      .writeHeader('Location', withClickId(location, clickId))
      .writeHeader('Cache-Control', 'no-store');
    writeRequestId(response, requestId);
    if (strictTransport !== undefined) response.writeHeader('Strict-Transport-Security', strictTransport);
    if (cookieDays > 0) {
      response.writeHeader('Set-Cookie', `aff_click=${clickId}${cookieAttributes(cookieDays)}`);
    }
    if (isHead) endHead(response, 0);
    else response.end(undefined, isClosing());
  }

  function sendGone({ response, requestId }: Click): void {
    outcomes.gone++;
    refuse(response, requestId, '410 Gone', 'code: this link is no longer active');
  }

  function sendPixel({ response, requestId, isHead }: Click): void {
    outcomes.impression++;
    response
      .writeHeader('Content-Type', PIXEL_MEDIA_TYPE)
      .writeHeader('Cache-Control', 'no-store')
      .writeHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    writeRequestId(response, requestId);
    if (isHead) endHead(response, PIXEL_GIF.length);
    else response.end(PIXEL_GIF);
  }

  // The click whose answer is being written. `cork` calls its function at once and without arguments; one function for
  // all answers, and these two variables, spare the hot path a closure a click.
  let click: Click;
  let clickId = '';
  function write(): void {
    if (click.answer === 'redirect') redirect(click, clickId);
    else if (click.answer === 'pixel') sendPixel(click);
    else sendGone(click);
  }

  return {
    answer(durable, id) {
      if (durable.isAborted) {
        outcomes.aborted++;
        return;
      }
      click = durable;
      clickId = id;
      durable.response.cork(write);
    },
    refuseSpeculative({ response, requestId }) {
      outcomes.speculative++;
      const reason = 'purpose: a link is not fetched before it is clicked';
      refuse(response, requestId, '503 Service Unavailable', reason);
    },
    refuse({ response, requestId, isAborted }) {
      if (isAborted) {
        outcomes.aborted++;
        return;
      }
      outcomes.unavailable++;
      response.cork(() => {
        refuseForNow(response, requestId, 'the click could not be stored in time; please try again');
      });
    },
  };
}

/** The attributes of the cookie by its days; made again only when they differ from those of the click before. */
function createCookieAttributes(isSecure: boolean): (days: number) => string {
  let lastDays = -1;
  let attributes = '';
  return (days) => {
    if (days !== lastDays) {
      lastDays = days;
      attributes = `; Max-Age=${days * DAY_S}; Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`;
    }
    return attributes;
  };
}

export function refuse(response: HttpResponse, requestId: string, status: string, text: string): void {
  response.writeStatus(status).writeHeader('Cache-Control', 'no-store');
  writeRequestId(response, requestId);
  response.end(`${text}\n`);
}

export function refuseForNow(response: HttpResponse, requestId: string, text: string): void {
  response
    .writeStatus('503 Service Unavailable')
    .writeHeader('Retry-After', RETRY_AFTER_SECONDS)
    .writeHeader('Cache-Control', 'no-store');
  writeRequestId(response, requestId);
  response.end(`${text}\n`);
}

/** Behind the status, which uWebSockets.js writes with the first header. */
export function writeRequestId(response: HttpResponse, requestId: string): void {
  if (requestId !== '') response.writeHeader('X-Request-Id', requestId);
}

/**
 * Ends the answer to a HEAD request: `bytes` is the length of the body that GET would send.
 *
 * The length is written by hand. Given one above 0, `endWithoutBody` waits for a body that never comes: the answer never
 * ends, and a handler that attached no abort handler ends the whole process.
 */
export function endHead(response: HttpResponse, bytes: number): void {
  response.writeHeader('Content-Length', String(bytes)).endWithoutBody();
}
