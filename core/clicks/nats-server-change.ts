import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';

/** How often a server of a cluster is asked whether it knows a leader. */
const ASK_EVERY_MS = 5_000;
const ANSWER_TIMEOUT_MS = 2_000;
/** So many unanswered questions in a row are no election any more, which takes 4 to 9 s. */
const UNANSWERED_BEFORE_CHANGE = 3;

/**
 * Goes on to another server of the cluster when this one is cut off from the others: it keeps its clients, and answers none
 * of their requests to JetStream.
 */
export function leaveServerWithoutLeader(nc: NatsConnection): void {
  let unanswered = 0;
  let isAsking = false;
  async function ask(): Promise<void> {
    if (isAsking || nc.getServers().length < 2) return;
    isAsking = true;
    try {
      await jetstreamManager(nc, { timeout: ANSWER_TIMEOUT_MS });
      unanswered = 0;
    } catch {
      unanswered++;
    } finally {
      isAsking = false;
    }
    if (unanswered < UNANSWERED_BEFORE_CHANGE || nc.isClosed()) return;
    unanswered = 0;
    await nc.reconnect();
  }
  const timer = setInterval(() => void ask(), ASK_EVERY_MS).unref();
  void nc.closed().then(() => clearInterval(timer));
}
