import { assert, errorText, InputError } from '../../core/errors.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Logger } from '../../core/service/log.ts';
import { HOUR_MS } from '../../core/time.ts';
import { countUnproven, getCallRequest } from '../../ledger/integrations/postback-calls.ts';
import { findSource, getSource, type Source } from '../../ledger/integrations/sources.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { translateError } from '../http/translate-error.ts';
import { createBatches } from '../orders/batches.ts';
import type { OrderChecks } from '../orders/intake.ts';
import type { ShopSettings } from '../orders/shop-settings.ts';
import { kindOf } from './kinds/index.ts';
import { type Mapping, readMapping } from './mapping.ts';
import { hashOf, hashOfCall, isProven, isUnsigned } from './proofs.ts';
import { type Reading, readCall } from './read-call.ts';
import {
  type CallAnswer,
  isRefusal,
  type ReadCall,
  type Refusal,
  recordCalls,
  reportsOrdersOnly,
} from './record-calls.ts';
import { packRequest, type SentRequest, unpackRequest, valuesOf } from './sent-request.ts';

/** Takes the calls of sources: each is stored as it came and done at once or, when it cannot be read yet, later again. */
export interface Receiver {
  /** The source of an address; undefined: there is none. */
  bySecret(address: string): Promise<Source | undefined>;
  /** The source of a host name. */
  byHost(host: string): Promise<Source | undefined>;
  /**
   * Undefined: it is not signed as the source's calls are, and no more of such calls is stored.
   * @param onGuess Called before a call is stored that has a wrong secret in its URL; what it throws, refuses the call.
   */
  receive(
    source: Source,
    request: SentRequest,
    by: { caller: ReadCall['caller']; onGuess: () => void },
  ): Promise<CallAnswer | undefined>;
  /** Does a stored call again, by the present mapping; undefined: it is no call of a source that still is. */
  replay(callId: bigint, caller: ReadCall['caller']): Promise<CallAnswer | undefined>;
  /** What a mapping, or the present one of the source, makes of a request. */
  read(source: Source, request: SentRequest, mapping?: Mapping): Promise<Reading>;
}

/** A change of a source is in force within this. */
const FRESH_MS = 1_000;
/** Sources that are known at a time, unknown addresses among them. */
const MAX_KNOWN = 1_000;

interface ReceiverContext extends OrderChecks {
  readonly ledger: Database;
  readonly secretBox: SecretBox;
  readonly shopSettings: ShopSettings;
  readonly log: Logger;
}

/** Reads calls by the mapping of their source; what is wrong with one is in the answer. */
function createReader({ shopSettings, log }: Pick<ReceiverContext, 'shopSettings' | 'log'>) {
  const mappings = new WeakMap<Source, Mapping>();

  function mappingOf(source: Source): Mapping {
    const mapping =
      mappings.get(source) ??
      (source.mapping === null ? kindOf(source.kind).mapping : readMapping(source.mapping));
    mappings.set(source, mapping);
    return mapping;
  }

  async function read(source: Source, request: SentRequest, mapping?: Mapping): Promise<Reading> {
    try {
      const { currency } = await shopSettings.of(source.programId);
      assert(currency !== undefined, 'a source has a program');
      return readCall(mapping ?? mappingOf(source), await valuesOf(request), { currency });
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return {
        reports: [],
        names: [],
        ignored: undefined,
        faults: [{ field: error.field, message: error.reason }],
        notes: [],
      };
    }
  }

  /** A fault of ours must not lose a call: it is stored, and done again when the fault is mended. */
  async function readingOf(source: Source, request: SentRequest): Promise<Reading | Refusal> {
    if (source.status === 'disabled') return { code: 'wrong_state', detail: 'the source is disabled' };
    try {
      return await read(source, request);
    } catch (error) {
      if (translateError(error).code !== 'internal') throw error;
      return faultOf(error);
    }
  }

  function faultOf(error: unknown): Refusal {
    log.error({ err: error, reason: errorText(error) }, 'a call of a source could not be done; it is stored');
    return { code: 'internal', detail: 'a fault of this server; the call is stored' };
  }

  return { read, readingOf, faultOf };
}

export function createReceiver(context: ReceiverContext): Receiver {
  const { ledger, secretBox, clickIds, shopClocks } = context;
  const known = knownSources(ledger);
  const unproven = createUnprovenCalls(ledger);
  const { read, readingOf, faultOf } = createReader(context);
  const batches = createBatches<ReadCall, CallAnswer>({
    work: (calls) => inTransaction(ledger, (tx) => recordCalls(tx, { calls, clickIds, shopClocks })),
    isAlone: (call) => !reportsOrdersOnly(call),
  });

  async function record(call: ReadCall): Promise<CallAnswer> {
    return await batches.submit(call).catch((error: unknown) => {
      if (translateError(error).code !== 'internal') throw error;
      // The code is what says of a stored call that it proves nothing.
      const reading = isUnproven(call) ? call.reading : faultOf(error);
      return batches.submit({ ...call, reading });
    });
  }

  async function replay(callId: bigint, caller: ReadCall['caller']): Promise<CallAnswer | undefined> {
    const stored = await getCallRequest(ledger, callId);
    const source = stored && (await getSource(ledger, stored.sourceId));
    if (!source) return undefined;
    const request = await unpackRequest(secretBox, stored.request);
    const { receivedAt } = stored;
    // A secret of then may have been changed since.
    const isKnown = stored.wasProven || isProven(secretBox, source, { request, receivedAt });
    const reading = isKnown ? await readingOf(source, request) : unprovenOf(source);
    return await record({
      source,
      caller,
      request: undefined,
      replayOf: stored.id,
      bodyHash: undefined,
      reading,
    });
  }

  return {
    bySecret: (address) => known.find(`address ${address}`, { addressHash: hashOf(address) }),
    byHost: (host) => known.find(`host ${host}`, { host }),
    read,
    replay,
    async receive(source, request, { caller, onGuess }) {
      const isSigned = kindOf(source.kind).signature !== undefined && !isUnsigned(source, request);
      const isKnown =
        !(isSigned && source.secret === null) &&
        isProven(secretBox, source, { request, receivedAt: new Date() });
      // A signature is not guessed; a word in the URL can be.
      if (!isKnown && kindOf(source.kind).signature === undefined) onGuess();
      if (!isKnown && !(await unproven.take(source, request))) return undefined;
      const [packed, reading] = await Promise.all([
        packRequest(secretBox, request),
        isKnown ? readingOf(source, request) : unprovenOf(source),
      ]);
      const bodyHash = isSigned && isKnown ? hashOfCall(request) : undefined;
      return await record({ source, caller, request: packed, replayOf: null, bodyHash, reading });
    },
  };
}

function isUnproven({ reading }: ReadCall): boolean {
  return isRefusal(reading) && reading.code === 'signature_required';
}

/** No order ever comes of such a call, until the source has the secret that proves it. */
function unprovenOf({ secret }: Source): Refusal {
  const detail =
    secret === null
      ? 'its signature cannot be checked: set the secret of the source, and replay the call'
      : 'it is not signed with the secret of the source: set the secret that its sender has, and replay the call';
  return { code: 'signature_required', detail };
}

/** Of a source and an hour: the orders of a shop with a wrong secret, and no more of a disk than that. */
const MAX_UNPROVEN_CALLS = 500;
const MAX_UNPROVEN_BYTES = 16 * 1024 * 1024;
/** Of a source, whatever its age: two days of a shop that sends a hundred an hour, within which a wrong secret is noticed. */
const MAX_STORED_CALLS = 5_000;
const MAX_STORED_BYTES = 64 * 1024 * 1024;

/**
 * What is left of that for calls that prove nothing. Those of an hour are counted in this process; several of them allow as
 * much each.
 */
function createUnprovenCalls(ledger: Database) {
  let hour = 0;
  let taken = new Map<number, { readonly calls: number; readonly bytes: number }>();
  return {
    /** Whether one more may be stored. */
    async take({ id }: Source, { query, body }: SentRequest): Promise<boolean> {
      const current = Math.floor(Date.now() / HOUR_MS);
      if (current !== hour) {
        hour = current;
        taken = new Map();
      }
      const { calls, bytes } = taken.get(id) ?? { calls: 0, bytes: 0 };
      const now = { calls: calls + 1, bytes: bytes + query.length + body.length };
      if (now.calls > MAX_UNPROVEN_CALLS || now.bytes > MAX_UNPROVEN_BYTES) return false;
      taken.set(id, now);
      const stored = await countUnproven(ledger, id);
      return stored.calls < MAX_STORED_CALLS && stored.bytes + now.bytes - bytes <= MAX_STORED_BYTES;
    },
  };
}

/** Sources, each read once a second at the most: a shop sends a thousand calls a second. */
function knownSources(ledger: Database) {
  const known = new Map<string, { readonly at: number; readonly source: Promise<Source | undefined> }>();
  return {
    find(key: string, by: Parameters<typeof findSource>[1]): Promise<Source | undefined> {
      const now = Date.now();
      const before = known.get(key);
      if (before && now - before.at < FRESH_MS) return before.source;
      const source = findSource(ledger, by);
      source.catch(() => known.delete(key));
      known.delete(key);
      known.set(key, { at: now, source });
      if (known.size > MAX_KNOWN) known.delete(known.keys().next().value ?? '');
      return source;
    },
  };
}
