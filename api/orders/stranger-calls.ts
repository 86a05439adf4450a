import { errorText } from '../../core/errors.ts';
import { formatIp, isMappedIpv4, networkOf, parseIp } from '../../core/ip.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import { HOUR_MS } from '../../core/time.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../../ledger/integrations/postback-calls.ts';
import {
  addUnidentifiedCalls,
  type UnidentifiedCalls,
} from '../../ledger/integrations/unidentified-calls.ts';
import type { Database } from '../../ledger/postgres/db.ts';

/**
 * Calls whose caller is not known, and who could otherwise fill the disk that holds the books: they are counted by network and reason, and
 * a small sample goes to the call log, where a shop with an old key is found. Counts are written together every few
 * seconds; a crash loses those.
 */
export interface StrangerCalls {
  /** Counts a call; never throws. */
  note(call: NewPostbackCall): Promise<void>;
  /** Writes what is counted and ends. */
  close(): Promise<void>;
}

const FLUSH_MS = 5_000;
/** Networks of an hour that are counted apart; a stranger with a whole range of IPv6 has more than a table should. */
const MAX_NETWORKS = 1_000;
/** Every network beyond {@link MAX_NETWORKS}. */
const OTHERS = '0.0.0.0/0';
/** Lines of an hour in the call log, in all and of one reason of a network: enough to see what comes. */
const MAX_SAMPLES = 100;
const MAX_SAMPLES_A_REASON = 5;
/** Of an hour and a source, beside those: who set it up sees what is wrong, whatever strangers send. Sources are bounded by programs. */
const MAX_SAMPLES_A_SOURCE = 5;
/** Of a sample's parameters, and of why it was refused: enough to recognise the sender. */
const MAX_SAMPLE_LENGTH = 300;

interface Hour {
  readonly at: Date;
  readonly networks: Set<string>;
  /** Samples taken of each reason of a network, and of each source. */
  readonly samples: Map<string, number>;
  /** Of callers of no source. */
  sampled: number;
}

export function createStrangerCalls({ ledger, log }: { ledger: Database; log: Logger }): StrangerCalls {
  let hour = newHour(0);
  let counts = new Map<string, UnidentifiedCalls>();

  async function flush(): Promise<void> {
    if (counts.size === 0) return;
    const taken = counts;
    counts = new Map();
    try {
      await addUnidentifiedCalls(ledger, [...taken.values()]);
    } catch (error) {
      log.warn(
        { reason: errorText(error) },
        'counts of unidentified calls could not be written; trying again',
      );
      for (const count of taken.values()) add(count);
    }
  }
  const loop = startLoop(async () => {
    await flush();
    return FLUSH_MS;
  });

  function add(count: UnidentifiedCalls): void {
    const key = [count.hour.getTime(), count.network, count.via, count.reason].join(' ');
    counts.set(key, { ...count, calls: count.calls + (counts.get(key)?.calls ?? 0) });
  }

  function isSample({
    network,
    reason,
    sourceId,
  }: {
    network: string;
    reason: string;
    sourceId: number | undefined;
  }): boolean {
    const isOfSource = sourceId !== undefined;
    const key = isOfSource ? `source ${sourceId}` : `${network} ${reason}`;
    const taken = hour.samples.get(key) ?? 0;
    if (taken >= (isOfSource ? MAX_SAMPLES_A_SOURCE : MAX_SAMPLES_A_REASON)) return false;
    if (!isOfSource && hour.sampled >= MAX_SAMPLES) return false;
    if (!isOfSource) hour.sampled++;
    hour.samples.set(key, taken + 1);
    return true;
  }

  return {
    async note(call) {
      const at = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
      if (hour.at.getTime() !== at) hour = newHour(at);
      const own = keptNetwork(call.ip ?? '');
      const network = hour.networks.has(own) || hour.networks.size < MAX_NETWORKS ? own : OTHERS;
      hour.networks.add(network);
      const reason = call.code ?? 'unknown';
      add({ hour: hour.at, network, via: call.via, reason, calls: 1 });
      if (!isSample({ network, reason, sourceId: call.sourceId })) return;
      await insertPostbackCalls(ledger, [sampleOf(call)]).catch((error: unknown) =>
        log.warn({ reason: errorText(error) }, 'an unidentified call could not be logged'),
      );
    },
    async close() {
      await loop.stop();
      await flush();
    },
  };
}

function newHour(at: number): Hour {
  return { at: new Date(at), networks: new Set(), samples: new Map(), sampled: 0 };
}

/** The network under which an address is counted: what is kept names no single visitor. */
function keptNetwork(ip: string): string {
  const bytes = parseIp(ip);
  if (!bytes) return OTHERS;
  if (!isMappedIpv4(bytes)) return networkOf(ip);
  bytes[15] = 0;
  return `${formatIp(bytes)}/24`;
}

/** What a stranger claims to be is not kept as an actor. */
function sampleOf(call: NewPostbackCall): NewPostbackCall {
  return {
    ...call,
    actor: null,
    params: { sample: JSON.stringify(call.params).slice(0, MAX_SAMPLE_LENGTH).toWellFormed() },
    detail: call.detail?.slice(0, MAX_SAMPLE_LENGTH) ?? null,
  };
}
