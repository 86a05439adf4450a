import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import {
  endWaiting,
  type FoundCall,
  postponeWaiting,
  takeWaitingCalls,
} from '../../ledger/integrations/waiting-calls.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import type { Receiver } from './receiver.ts';
import { actorOf } from './record-calls.ts';

/** What was reported before its order is done within this of the order. */
const PAUSE_MS = 1_000;
const CALLS_AT_ONCE = 100;
/** Over a quarter of an hour; then the call stays refused in the log, where it can be repeated by hand. */
const MAX_ATTEMPTS = 5;

interface WaitingContext {
  readonly ledger: Database;
  readonly receiver: Pick<Receiver, 'replay'>;
  readonly log: Logger;
}

/** Does calls of sources whose orders have come meanwhile, by whatever way. Returns how many it looked at. */
export async function doWaitingCalls(context: WaitingContext): Promise<number> {
  const { ledger } = context;
  const { looked, found } = await inTransaction(ledger, (tx) =>
    takeWaitingCalls(tx, { limit: CALLS_AT_ONCE }),
  );
  for (const call of found.toSorted((a, b) => Number(a.callId - b.callId))) await doOne(context, call);
  return looked;
}

/** A call that fails holds up no other. */
async function doOne({ ledger, receiver, log }: WaitingContext, call: FoundCall): Promise<void> {
  const { callId, sourceId, attempts } = call;
  try {
    if (attempts <= MAX_ATTEMPTS) {
      await receiver.replay(callId, {
        requestId: `waiting ${callId}`,
        actor: actorOf({ id: sourceId }),
        ip: null,
      });
    }
    await inTransaction(ledger, (tx) => endWaiting(tx, call));
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
