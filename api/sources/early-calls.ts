import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import { DAY_MS } from '../../core/time.ts';
import { listEarlyCalls } from '../../ledger/integrations/sources.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Receiver } from './receiver.ts';
import { actorOf } from './record-calls.ts';

/** A refund is back within this of the order's report by another way. */
const PAUSE_MS = 5_000;
/** Shops report an order within days of it, or not at all. */
const MAX_AGE_MS = 30 * DAY_MS;
const CALLS_AT_ONCE = 100;

/**
 * Does calls of sources that came before their order, which the shop has reported meanwhile by the API, a postback or an
 * import; the receiver does those whose order came by the source itself, unless it was stopped in between.
 */
export async function doEarlyCalls({
  ledger,
  receiver,
}: {
  ledger: Database;
  receiver: Pick<Receiver, 'replay'>;
}): Promise<number> {
  const since = new Date(Date.now() - MAX_AGE_MS);
  const calls = await listEarlyCalls(ledger, { since, limit: CALLS_AT_ONCE });
  for (const { id, sourceId } of calls) {
    await receiver.replay(id, { requestId: `early ${id}`, actor: actorOf({ id: sourceId }), ip: null });
  }
  return calls.length;
}

export function startEarlyCalls(options: Parameters<typeof doEarlyCalls>[0] & { log: Logger }): Running {
  return startLoop(async () => {
    try {
      return (await doEarlyCalls(options)) === CALLS_AT_ONCE ? 0 : PAUSE_MS;
    } catch (error) {
      options.log.warn({ reason: errorText(error) }, 'calls before their orders could not be done; retrying');
      return PAUSE_MS;
    }
  });
}
