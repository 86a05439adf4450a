import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Logger } from '../../core/service/log.ts';
import type { Link } from '../links/link-set.ts';
import type { LinkStore } from '../links/links.ts';
import { CODE } from '../request/link-path.ts';
import { withClickId } from '../request/redirect-url.ts';
import { refuse, refuseForNow, writeRequestId } from './answers.ts';
import { fillFallback } from './macro-values.ts';
import type { OutcomeCounts } from './outcomes.ts';
import { requestIdOf } from './read-request.ts';
import { createSamples } from './samples.ts';

/** Longest code or slug. */
const MAX_CODE_LENGTH = 64;
/** A query of this length already holds every parameter of the largest trackers; a row must stay small. */
const MAX_QUERY_LENGTH = 8_192;

/** What browsers and crawlers ask of every host: no visitor follows it. */
const ASKED_OF_EVERY_HOST = /^\/(?:favicon\.ico$|robots\.txt$|\.well-known\/)/;

/** Finds the link of a request, or answers the request and returns undefined. */
export type LinkFinder = (
  response: HttpResponse,
  request: HttpRequest,
  /** The code is '' when the request is for no link. */
  wanted: { code: string; query: string; mayRedirect: boolean },
) => Link | undefined;

export function createLinkFinder(options: {
  links: LinkStore;
  outcomes: OutcomeCounts;
  log: Logger;
}): LinkFinder {
  const { links, outcomes, log } = options;
  const samples = createSamples({ log });

  /** To the fallback of the program that owns the host: who follows a spoilt link is still its visitor. */
  function redirectToFallback(response: HttpResponse, request: HttpRequest, query: string): boolean {
    const host = request.getHeader('host').toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '');
    const program = links.programOfDomain(host);
    if (!program?.fallback || ASKED_OF_EVERY_HOST.test(request.getUrl())) return false;
    outcomes.unknown_code_fallback++;
    response
      .writeStatus('302 Found')
      .writeHeader('Location', withClickId(fillFallback(program.fallback, program, query), ''))
      .writeHeader('Cache-Control', 'no-store');
    writeRequestId(response, requestIdOf(request));
    response.end();
    return true;
  }

  return (response, request, { code, query, mayRedirect }) => {
    if (query.length > MAX_QUERY_LENGTH) {
      const requestId = requestIdOf(request);
      outcomes.query_too_long++;
      samples.note('query_too_long', code, requestId);
      refuse(
        response,
        requestId,
        '414 URI Too Long',
        `query: must not exceed ${MAX_QUERY_LENGTH} characters`,
      );
      return undefined;
    }
    const link = links.find(code);
    if (link) return link;
    const requestId = requestIdOf(request);
    if (links.freshAtMs === 0) {
      outcomes.not_loaded++;
      refuseForNow(response, requestId, 'the links are not loaded yet; please try again');
      return undefined;
    }
    const isCode = code.length <= MAX_CODE_LENGTH && CODE.test(code);
    if (code !== '') samples.note(isCode ? 'unknown_code' : 'malformed_code', code, requestId);
    if (mayRedirect && redirectToFallback(response, request, query)) return undefined;
    if (code === '') {
      outcomes.unknown_path++;
      refuse(response, requestId, '404 Not Found', 'path: not found; links are /c/{code}');
    } else if (isCode) {
      outcomes.unknown_code++;
      refuse(response, requestId, '404 Not Found', 'code: no such link');
    } else {
      outcomes.malformed_code++;
      refuse(
        response,
        requestId,
        '404 Not Found',
        `code: must be 1 to ${MAX_CODE_LENGTH} of A-Z a-z 0-9 _ -`,
      );
    }
    return undefined;
  };
}
