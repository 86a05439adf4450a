import type { HttpRequest } from 'uWebSockets.js';
import { ClickFlag } from '../../core/clicks/click-record.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Clock } from '../durability/clock.ts';
import type { ShardCommitter } from '../durability/shard-committer.ts';
import type { ClickCaps } from '../links/caps.ts';
import type { LinkStore } from '../links/links.ts';
import type { AsnOf } from '../request/asn.ts';
import type { ClientAddressReader } from '../request/client-address.ts';
import type { CountryOf } from '../request/geo.ts';
import { CODE, type LinkPath, readLinkPath } from '../request/link-path.ts';
import type { VisitorOf } from '../request/visitors.ts';
import type { Floods } from '../routing/floods.ts';
import type { Repeats } from '../routing/repeats.ts';
import type { Answers } from './answers.ts';
import type { Click } from './click.ts';
import { createDecision } from './decision.ts';
import { createLinkFinder } from './find-link.ts';
import type { FlagCounts, OutcomeCounts } from './outcomes.ts';
import { createRequestReader } from './read-request.ts';
import { createRecorder } from './record.ts';
import type { Handler } from './server.ts';

/**
 * The handlers of `GET` and `HEAD` of `/c/{code}` and of `/i/{code}.gif`. The journey of a click, one file a step:
 *
 * 1. `find-link.ts`: the code becomes a link, or the request is answered.
 * 2. `read-request.ts`: headers, address and query become a {@link Click}; a speculative fetch is refused.
 * 3. `decision.ts`: route, flags, and what is kept of the visitor.
 * 4. `record.ts`: into the batch that gathers (`durability/committer.ts`); refused when nothing can store it.
 * 5. `answers.ts`: once its batch is durable, the committer has it answered.
 */
export function createClickHandlers(options: {
  links: LinkStore;
  committer: ShardCommitter<Click>;
  clock: Clock;
  clientAddress: ClientAddressReader;
  visitorOf: VisitorOf;
  countryOf: CountryOf;
  asnOf: AsnOf;
  caps: ClickCaps;
  repeats: Repeats;
  floods: Floods;
  log: Logger;
  answers: Answers;
  outcomes: OutcomeCounts;
  flagCounts: FlagCounts;
}): { click: Handler; impression: Handler } {
  const { answers } = options;
  const findLink = createLinkFinder(options);
  const readRequest = createRequestReader(options);
  const { decideRedirect, decideImpression } = createDecision(options);
  const record = createRecorder(options);

  function handlerOf(kind: RequestKind): Handler {
    return (response, request, isHead) => {
      const { code, query } = kind.read(request);
      const link = findLink(response, request, { code, query, mayRedirect: kind.mayRedirect });
      if (!link) return;
      const click = readRequest(response, request, { link, query, isHead });
      if (kind.mayRedirect && isSpeculativeVisit(click)) {
        answers.refuseSpeculative(click);
        return;
      }
      kind.decide(click);
      record(click);
    };
  }

  return {
    click: handlerOf({ read: readClickPath, mayRedirect: true, decide: decideRedirect }),
    impression: handlerOf({ read: readPixelPath, mayRedirect: false, decide: decideImpression }),
  };
}

/** What sets `/c/{code}` and `/i/{code}.gif` apart. */
interface RequestKind {
  readonly read: (request: HttpRequest) => LinkPath;
  /**
   * Whether its answers are redirects: an unknown code leads to the fallback of the program that owns the domain, and a
   * speculative fetch is refused.
   */
  readonly mayRedirect: boolean;
  readonly decide: (click: Click) => void;
}

/** The answer to HEAD leads nowhere, so it cannot take the place of the visit's own. */
function isSpeculativeVisit({ flags, isHead }: Click): boolean {
  return (flags & ClickFlag.prefetch) !== 0 && !isHead;
}

const PIXEL_SUFFIX = '.gif';

function readPixelPath(request: HttpRequest): LinkPath {
  const file = request.getParameter(0) ?? '';
  const code = file.endsWith(PIXEL_SUFFIX) ? file.slice(0, -PIXEL_SUFFIX.length) : '';
  return { code, query: request.getQuery() ?? '' };
}

/** Nearly every address is spelt as it was published. */
function readClickPath(request: HttpRequest): LinkPath {
  const code = request.getParameter(0) ?? '';
  const query = request.getQuery() ?? '';
  return CODE.test(code) ? { code, query } : readLinkPath(request.getUrl(), query);
}
