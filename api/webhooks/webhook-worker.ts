import { errorText } from '../../core/errors.ts';
import type { NetworkMatcher } from '../../core/ip.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import type { Telemetry } from '../../core/telemetry/telemetry.ts';
import { DAY_MS } from '../../core/time.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import {
  addDelivery,
  addPostbackDelivery,
  claimDeliveries,
  type DueDelivery,
  disableEndpoint,
  endFullKeeping,
  isOutdated,
  type Listener,
  listenersOf,
  lockSubjects,
  MAX_KEPT_EVENTS,
  postponeEvent,
  recordAttempt,
  takeEvents,
  type WebhookEvent,
} from '../../ledger/integrations/webhook-queue.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { decryptSigningSecret, sign } from '../auth/signed-calls.ts';
import { translateError } from '../http/translate-error.ts';
import { formatId } from '../schemas/ids.ts';
import { formatOptionalTime } from '../schemas/schemas.ts';
import { postbackBodyOf } from './outgoing-postbacks.ts';
import { webhookBodyOf } from './webhook-bodies.ts';
import { requestOf } from './webhook-request.ts';
import { recordAttemptSpan, spanOf, traceHeaders } from './webhook-span.ts';
import { send, type WebhookAnswer } from './webhook-target.ts';

/**
 * Tells endpoints of events: each at least once. Attempts are independent of each other, so a later event can arrive first;
 * `sequence` in the bodies orders those of one object.
 */

/** Waits between the attempts, as Standard Webhooks recommends: ten attempts over three days. */
const RETRY_WAITS_S = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 72_000];
/** So that a receiver that comes back is not met by everything at once. */
const JITTER = 0.2;
/** An endpoint that has failed for so long, at every attempt, is disabled. */
const DISABLE_AFTER_MS = 3 * DAY_MS;
const GONE = 410;

const EVENTS_AT_ONCE = 100;
/**
 * Connections at a time, half of them for endpoints whose last attempt failed: receivers that hang, each until its time-out,
 * then take those of each other only. Well below the 1,024 open files that many systems allow.
 */
const MAX_IN_FLIGHT = 512;
const MAX_FAILING_IN_FLIGHT = MAX_IN_FLIGHT / 2;
/** Deliveries of one endpoint at a time; a failing one has a single one. */
const PER_ENDPOINT = 5;
const IDLE_PAUSE_MS = 500;
const RETRY_PAUSE_MS = 2_000;
const ACTOR = 'webhooks';

export interface WebhookWorkerOptions {
  readonly ledger: Database;
  readonly secretBox: SecretBox;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  /** Private networks that webhooks are allowed to reach. */
  readonly allowed: NetworkMatcher;
  /** For tests; default {@link RETRY_WAITS_S}. */
  readonly retryWaitsS?: readonly number[];
}

export function startWebhookWorker(options: WebhookWorkerOptions): Running {
  const deliveries = startDeliveries(options);
  const loop = startLoop(async () => {
    try {
      const events = await fanOut(options);
      const claimed = await deliveries.claim();
      if (events + claimed > 0) return 0;
      await deliveries.settled(IDLE_PAUSE_MS);
      return 0;
    } catch (error) {
      options.log.warn({ reason: errorText(error) }, 'webhook delivery failed; retrying');
      return RETRY_PAUSE_MS;
    }
  });
  return {
    async stop() {
      await loop.stop();
      await deliveries.ended();
    },
  };
}

/** Attempts under way. Each ends by itself: nothing waits for the slowest. */
export function startDeliveries(options: WebhookWorkerOptions): {
  /** Starts as many attempts as there is room for; returns their number. */
  claim(): Promise<number>;
  /** Returns when an attempt has ended, or after `timeoutMs`. */
  settled(timeoutMs: number): Promise<void>;
  /** Returns when none is under way. */
  ended(): Promise<void>;
} {
  const inFlight = new Map<Promise<void>, DueDelivery>();

  function begin(delivery: DueDelivery): void {
    const running = attempt(options, delivery)
      .catch((error) =>
        options.log.warn({ reason: errorText(error) }, 'a webhook attempt was not recorded; repeating'),
      )
      .finally(() => inFlight.delete(running));
    inFlight.set(running, delivery);
  }

  return {
    async claim() {
      const failing = [...inFlight.values()].filter(({ isFailing }) => isFailing).length;
      const due = await claimDeliveries(options.ledger, {
        failing: MAX_FAILING_IN_FLIGHT - failing,
        healthy: MAX_IN_FLIGHT - MAX_FAILING_IN_FLIGHT - (inFlight.size - failing),
        perEndpoint: PER_ENDPOINT,
      });
      for (const delivery of due) begin(delivery);
      return due.length;
    },
    async settled(timeoutMs) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
      });
      await Promise.race([timeout, ...inFlight.keys()]);
      clearTimeout(timer);
    },
    async ended() {
      await Promise.all(inFlight.keys());
    },
  };
}

/**
 * Writes the bodies of new events for each endpoint. Returns the number of events. One whose bodies cannot be written is put
 * off, and keeps none of the others.
 */
export async function fanOut({ ledger, log }: Pick<WebhookWorkerOptions, 'ledger' | 'log'>): Promise<number> {
  try {
    return await fanOutBatch(ledger, tell);
  } catch (error) {
    if (translateError(error).code === 'unavailable') throw error;
  }
  // Once more, each in a savepoint: these cost two statements an event, which is why not at first.
  return await fanOutBatch(ledger, async (tx, event) => {
    try {
      await tx.savepoint((point) => tell(point, event));
    } catch (error) {
      if (translateError(error).code === 'unavailable') throw error;
      log.error(
        { event: event.messageId, reason: errorText(error) },
        'no body could be written for an event; it is put off',
      );
      await postponeEvent(tx, event);
    }
  });
}

async function tell(tx: DatabaseTransaction, event: WebhookEvent): Promise<void> {
  for (const listener of await listenersOf(tx, event)) await deliverTo(tx, event, listener);
}

async function fanOutBatch(
  ledger: Database,
  tellOne: (tx: DatabaseTransaction, event: WebhookEvent) => Promise<void>,
): Promise<number> {
  return await inTransaction(ledger, async (tx) => {
    const events = await takeEvents(tx, { limit: EVENTS_AT_ONCE });
    if (events.length === 0) return 0;
    await endFullKeeping(tx);
    await lockSubjects(
      tx,
      events.map(({ subject }) => subject),
    );
    for (const event of events.toSorted((a, b) => Number(a.id - b.id))) {
      await tellOne(tx, event);
    }
    return events.length;
  });
}

async function deliverTo(tx: DatabaseTransaction, event: WebhookEvent, listener: Listener): Promise<void> {
  const { id: endpointId, kind, role } = listener;
  if (kind === 'webhook') {
    const body = await webhookBodyOf(tx, event, role);
    await addDelivery(tx, { endpointId, eventId: event.id, body });
    return;
  }
  // A tracker goes by what comes last.
  if (event.wasPostponed && (await isOutdated(tx, event))) return;
  const body = await postbackBodyOf(tx, event, listener);
  // Two tests are two postbacks, whatever they say.
  if (event.type === 'webhook.test' && body !== null)
    await addDelivery(tx, { endpointId, eventId: event.id, body });
  else await addPostbackDelivery(tx, { endpointId, event, body });
}

async function attempt(options: WebhookWorkerOptions, delivery: DueDelivery): Promise<void> {
  const { ledger, secretBox, allowed, retryWaitsS = RETRY_WAITS_S } = options;
  const timestamp = Math.floor(Date.now() / 1_000);
  const { messageId: id, endpointId } = delivery;
  const request = requestOf(delivery);
  const span = spanOf(options.telemetry, delivery);
  const secrets = [delivery.secret, delivery.oldSecret].filter((secret) => secret !== null);
  const signatures = secrets.map((encrypted) =>
    sign(decryptSigningSecret(secretBox, encrypted), { id, timestamp, body: request.signed }),
  );
  const answer = await send(request.url, {
    method: request.method,
    body: request.body,
    allowed,
    headers: {
      ...(request.contentType !== undefined && { 'content-type': request.contentType }),
      'user-agent': 'Afflux-Webhooks/1',
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signatures.join(' '),
      ...traceHeaders(delivery, span),
    },
  });
  if (span) recordAttemptSpan(options.telemetry, { delivery, span, answer });
  const waitS = retryWaitsS[delivery.attempts];
  const delivered = answer.error === undefined;
  await inTransaction(ledger, (tx) =>
    recordAttempt(tx, {
      deliveryId: delivery.id,
      durationMs: Math.round(answer.durationMs),
      status: answer.status ?? null,
      error: answer.error ?? null,
      response: answer.response || null,
      outcome: delivered
        ? { state: 'delivered' }
        : waitS === undefined
          ? { state: 'dead' }
          : { state: 'pending', nextAttemptAt: afterAbout(waitS) },
    }),
  );
  if (!delivered) await disableWhenHopeless(options, endpointId, answer);
}

function afterAbout(seconds: number): Date {
  const factor = 1 + JITTER * (2 * Math.random() - 1);
  return new Date(Date.now() + seconds * 1_000 * factor);
}

async function disableWhenHopeless(
  { ledger, secretBox, log }: WebhookWorkerOptions,
  endpointId: number,
  { status, error }: WebhookAnswer,
): Promise<void> {
  const gone = status === GONE;
  const reason = gone ? 'it answered 410 Gone' : `every attempt has failed for three days: ${error}`;
  const disabled = await inTransaction(ledger, async (tx) => {
    const failingForMs = gone ? 0 : DISABLE_AFTER_MS;
    const endpoint = await disableEndpoint(tx, { endpointId, reason, failingForMs });
    if (!endpoint) return false;
    const subject = formatId('webhookEndpoint', endpointId);
    await appendAuditLog(tx, { actor: ACTOR, action: 'webhook.disable', subject, after: { reason } });
    const owner = endpoint.affiliateId === null ? undefined : await getAffiliate(tx, endpoint.affiliateId);
    if (owner) {
      await queueMail(tx, secretBox, {
        to: owner.email,
        subject: 'A webhook of yours was disabled',
        text: `The webhook ${subject} to ${endpoint.url} was disabled: ${reason}.\n\nWhat was not delivered waits, and so do later events until ${formatOptionalTime(endpoint.keepsUntil)}, at most ${MAX_KEPT_EVENTS}. Set its status to active to have them delivered.\n`,
      });
    }
    return true;
  });
  if (disabled) log.warn({ endpoint: endpointId, reason }, 'a webhook was disabled');
}
