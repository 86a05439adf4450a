import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Logger } from '../../core/service/log.ts';
import type { Link } from '../links/link-set.ts';
import type { LinkStore } from '../links/links.ts';
import { withClickId } from '../request/redirect-url.ts';
import { refuse, refuseForNow } from './answers.ts';
import type { OutcomeCounts } from './outcomes.ts';
import { createSamples } from './samples.ts';

/** Longest code or slug. */
const MAX_CODE_LENGTH = 64;
/** A query of this length already holds every parameter of the largest trackers; a row must stay small. */
const MAX_QUERY_LENGTH = 8_192;

const CODE = /^[A-Za-z0-9_-]+$/;

/** Finds the link of a request, or answers the request and returns undefined. */
export type LinkFinder = (
  response: HttpResponse,
  request: HttpRequest,
  wanted: { code: string; query: string; mayRedirect: boolean },
) => Link | undefined;

export function createLinkFinder(options: {
  links: LinkStore;
  outcomes: OutcomeCounts;
  log: Logger;
}): LinkFinder {
  const { links, outcomes, log } = options;
  const samples = createSamples({ log });

  function answerUnknownCode(response: HttpResponse, request: HttpRequest, mayRedirect: boolean): void {
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

  return (response, request, { code, query, mayRedirect }) => {
    if (query.length > MAX_QUERY_LENGTH) {
      outcomes.query_too_long++;
      samples.note('query_too_long', code);
      refuse(response, '414 URI Too Long', `query: must not exceed ${MAX_QUERY_LENGTH} characters`);
      return undefined;
    }
    const link = links.find(code);
    if (link) return link;
    if (code.length > MAX_CODE_LENGTH || !CODE.test(code)) {
      outcomes.malformed_code++;
      samples.note('malformed_code', code);
      refuse(response, '404 Not Found', `code: must be 1 to ${MAX_CODE_LENGTH} of A-Z a-z 0-9 _ -`);
    } else if (links.freshAtMs === 0) {
      outcomes.not_loaded++;
      refuseForNow(response, 'the links are not loaded yet; please try again');
    } else {
      samples.note('unknown_code', code);
      answerUnknownCode(response, request, mayRedirect);
    }
    return undefined;
  };
}
