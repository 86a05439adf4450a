import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiCodes, JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { errorText, OperatingError } from '../errors.ts';

/** What failures of NATS mean: in a cluster most of them pass as soon as a leader is elected. */

/** Codes of server/errors.json in nats-server that the client does not name. */
const ApiCode = {
  noPeers: 10005,
  unavailable: 10008,
  notLeader: 10009,
  storageExceeded: 10047,
  nameInUse: 10058,
  notClustered: 10074,
  notEnabled: 10076,
  streamOffline: 10118,
} as const;

/** The server that answers knows no leader. */
const LEADERLESS: ReadonlySet<number> = new Set([
  ApiCode.unavailable,
  ApiCode.notLeader,
  ApiCode.notEnabled,
  ApiCode.streamOffline,
]);

/** An election takes 4 to 9 s; that of the cluster's own leader may have to come first. */
const ELECTIONS_TIMEOUT_MS = 30_000;
const ELECTION_POLL_MS = 250;

function hasCode(error: unknown, ...codes: readonly number[]): boolean {
  return error instanceof JetStreamApiError && codes.includes(error.code);
}

/** A failure of NATS, as its client throws it, as an operating error; undefined for anything else. */
export function natsFailure(error: unknown): OperatingError | undefined {
  const isOfNats =
    [JetStreamError, JetStreamApiError, ...Object.values(errors)].some((kind) => error instanceof kind) ||
    isJetStreamSilent(error);
  if (!isOfNats) return undefined;
  return new OperatingError('nats_failed', `a request to NATS failed: ${errorText(error)}`, { cause: error });
}

/** No server answers requests to JetStream; the client has no class for it that it exports. */
export function isJetStreamSilent(error: unknown): boolean {
  return error instanceof Error && error.name === 'JetStreamNotEnabled';
}

/** Another writer was first. A replicated stream says so by a code of its own while the other write is under way. */
export function isLostRace(error: unknown): boolean {
  return hasCode(
    error,
    JetStreamApiCodes.StreamWrongLastSequence,
    JetStreamApiCodes.StreamWrongLastSequenceUnknown,
  );
}

/** The server knows the client's login and refuses it. One that was too busy to read it in time says so by the same class. */
export function isLoginRefused(error: unknown): boolean {
  const isOfLogin =
    error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError;
  return isOfLogin && !/timeout/i.test(error.message);
}

export function isStreamMissing(error: unknown): boolean {
  return hasCode(error, JetStreamApiCodes.StreamNotFound);
}

/** A stream of this name was made at the same moment, with other settings. */
export function isNameInUse(error: unknown): boolean {
  return hasCode(error, ApiCode.nameInUse);
}

/** The servers cannot hold as many copies as were asked for. */
export function lacksServers(error: unknown): boolean {
  return hasCode(error, ApiCode.noPeers, ApiCode.notClustered);
}

/** The limits of all streams together are more than the servers may store. In a cluster this is a lack of servers with room. */
export function lacksStorage(error: unknown): boolean {
  return hasCode(error, ApiCode.storageExceeded);
}

/** The request may succeed once a leader is elected; whether it has taken effect is unknown. */
export function isUnanswered(error: unknown): boolean {
  return (
    error instanceof errors.TimeoutError ||
    (error instanceof errors.RequestError && error.isNoResponders()) ||
    isJetStreamSilent(error) ||
    (error instanceof JetStreamApiError && LEADERLESS.has(error.code))
  );
}

/** Repeats a request, which must bear that, while it fails for want of a leader. @throws OperatingError `nats_unreachable`, or what is no such failure. */
export async function untilLed<T>(
  request: () => Promise<T>,
  isPassing: (error: unknown) => boolean = isUnanswered,
): Promise<T> {
  const deadline = performance.now() + ELECTIONS_TIMEOUT_MS;
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (!isPassing(error)) throw error;
      if (performance.now() > deadline) throw leaderless(error);
      await delay(ELECTION_POLL_MS);
    }
  }
}

function leaderless(cause: unknown): OperatingError {
  return new OperatingError(
    'nats_unreachable',
    `NATS did not answer within ${ELECTIONS_TIMEOUT_MS / 1_000} s: ${errorText(cause)}. It needs JetStream, and of a cluster a majority of its servers`,
    { cause },
  );
}
