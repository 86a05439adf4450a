import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import {
  endWaiting,
  type FoundCall,
  parkWaiting,
  postponeWaiting,
  takeWaitingCalls,
  wakeWaitingCalls,
} from '../../ledger/integrations/waiting-calls.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import type { ProblemCode } from '../http/problems.ts';
import type { Receiver } from './receiver.ts';
import { actorOf, type CallAnswer } from './record-calls.ts';

/** What was reported before its order is done within this of the order. */
const PAUSE_MS = 1_000;
const CALLS_AT_ONCE = 100;
/** Over a quarter of an hour; then the call stays refused in the log, where it can be repeated by hand. */
const MAX_ATTEMPTS = 5;

interface WaitingContext {
  readonly ledger: Database;
  readonly receiver: { replay(...call: Parameters<Receiver['replay']>): Promise<Replayed> };
  readonly log: Logger;
}

/** Does calls of sources whose orders have come meanwhile, by whatever way. Returns how many it looked at. */
export async function doWaitingCalls(context: WaitingContext): Promise<number> {
  const { ledger } = context;
  await wakeWaitingCalls(ledger);
  const { looked, found } = await inTransaction(ledger, (tx) =>
    takeWaitingCalls(tx, { limit: CALLS_AT_ONCE }),
  );
  for (const call of found.toSorted((a, b) => Number(a.callId - b.callId))) await doOne(context, call);
  return looked;
}

/** What a call itself is refused for: it is refused again however often it is done. */
const FINAL = new Set<ProblemCode>(['invalid_input', 'conflict', 'not_found']);
/** What its source is in the way of, until it is enabled or has the right secret. */
const OF_SOURCE = new Set<ProblemCode>(['wrong_state', 'signature_required']);

/** Undefined: it is no call of a source any more. */
type Replayed = Pick<CallAnswer, 'refusal'> | undefined;

/** Whether the call is done, or will never be. @throws Error if it could not be done this time. */
function isOver(answer: Replayed): boolean {
  if (!answer?.refusal || FINAL.has(answer.refusal.code)) return true;
  if (OF_SOURCE.has(answer.refusal.code)) return false;
  throw new Error(answer.refusal.detail);
}

/** A call that fails holds up no other. */
async function doOne({ ledger, receiver, log }: WaitingContext, call: FoundCall): Promise<void> {
  const { callId, sourceId, attempts } = call;
  try {
    const caller = { requestId: `waiting ${callId}`, actor: actorOf({ id: sourceId }), ip: null };
    const isGivenUp = attempts > MAX_ATTEMPTS;
    if (isGivenUp || isOver(await receiver.replay(callId, caller))) {
      await inTransaction(ledger, (tx) => endWaiting(tx, call));
    } else {
      await parkWaiting(ledger, call);
    }
  } catch (error) {
    const what = attempts < MAX_ATTEMPTS ? 'it is tried again' : 'it is given up';
    log.warn(
      { call: String(callId), attempts, reason: errorText(error) },
      `a call could not be done after its order came; ${what}`,
    );
    await postponeWaiting(ledger, callId);
  }
}

export function startWaitingCalls(context: WaitingContext): Running {
  return startLoop(async () => {
    try {
      return (await doWaitingCalls(context)) === CALLS_AT_ONCE ? 0 : PAUSE_MS;
    } catch (error) {
      context.log.warn(
        { reason: errorText(error) },
        'calls that wait for their orders could not be done; retrying',
      );
      return PAUSE_MS;
    }
  });
}
