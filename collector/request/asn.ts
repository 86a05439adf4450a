import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { errorText } from '../../core/errors.ts';
import { isMappedIpv4 } from '../../core/ip.ts';
import type { Logger } from '../../core/service/log.ts';

/** Number of the autonomous system that announces a 16-byte address; 0 when unknown. */
export type AsnOf = (ip: Uint8Array) => number;

/** The list of autonomous systems, read when it is first needed: without an entry of a system it is not wanted, and it takes some 10 MB. */
export interface AsnList {
  /** 0 until it is loaded. */
  readonly asnOf: AsnOf;
  /**
   * Reads it once, beside clicks, a piece at a time. One that cannot be read is logged, names no system, and is tried again
   * by a call after a minute.
   */
  loadAsns(): Promise<void>;
  hasAsns(): boolean;
}

/** The list by which the warehouse names systems too; CSV of `first,last,asn,organisation`, addresses as whole numbers. */
const PACKAGE = '@ip-location-db/asn';
/** Parsed at a time: a click waits for it at the most, some 2 ms. */
const PIECE_BYTES = 128 * 1024;
/** Networks that are announced on the internet are no longer; of the few that are, the first counts. */
const IPV6_KEY_BITS = 48n;
const NEWLINE = 0x0a;
const RETRY_MS = 60_000;

export function openAsnList({
  log,
  fileOf = shippedFile,
}: {
  log: Logger;
  fileOf?: typeof shippedFile;
}): AsnList {
  let ipv4: Ranges | undefined;
  let ipv6: Ranges | undefined;
  let loading: Promise<void> | undefined;
  let failedAtMs = Number.NEGATIVE_INFINITY;

  async function load(): Promise<void> {
    try {
      const first = await readRanges(fileOf('asn-ipv4-num.csv'), Number);
      ipv6 = await readRanges(fileOf('asn-ipv6-num.csv'), (address) =>
        Number(BigInt(address) >> (128n - IPV6_KEY_BITS)),
      );
      ipv4 = first;
    } catch (error) {
      log.error({ reason: errorText(error) }, 'no list of autonomous systems: their blocks are not applied');
      failedAtMs = Date.now();
      loading = undefined;
    }
  }

  return {
    asnOf(ip) {
      return isMappedIpv4(ip) ? (ipv4?.find(ipv4Key(ip)) ?? 0) : (ipv6?.find(ipv6Key(ip)) ?? 0);
    },
    async loadAsns() {
      if (Date.now() < failedAtMs + RETRY_MS) return;
      loading ??= load();
      await loading;
    },
    hasAsns: () => ipv4 !== undefined,
  };
}

function ipv4Key(ip: Uint8Array): number {
  return ((ip[12] ?? 0) * 0x100 + (ip[13] ?? 0)) * 0x1_0000 + (ip[14] ?? 0) * 0x100 + (ip[15] ?? 0);
}

function ipv6Key(ip: Uint8Array): number {
  let key = 0;
  for (let i = 0; i < 6; i++) key = key * 0x100 + (ip[i] ?? 0);
  return key;
}

/** Ranges of addresses in their order, which do not overlap. */
class Ranges {
  readonly #firsts: Float64Array;
  readonly #lasts: Float64Array;
  readonly #asns: Uint32Array;

  constructor(firsts: readonly number[], lasts: readonly number[], asns: readonly number[]) {
    this.#firsts = Float64Array.from(firsts);
    this.#lasts = Float64Array.from(lasts);
    this.#asns = Uint32Array.from(asns);
  }

  find(key: number): number {
    let low = 0;
    let high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#firsts[middle] ?? 0) <= key) low = middle + 1;
      else high = middle;
    }
    const at = low - 1;
    return at >= 0 && key <= (this.#lasts[at] ?? 0) ? (this.#asns[at] ?? 0) : 0;
  }
}

function shippedFile(name: string): string {
  return createRequire(import.meta.url).resolve(`${PACKAGE}/${name}`);
}

async function readRanges(file: string, keyOf: (address: string) => number): Promise<Ranges> {
  const firsts: number[] = [];
  const lasts: number[] = [];
  const asns: number[] = [];
  // In order of address; where two ranges overlap, the first counts.
  let next = 0;
  let rest = Buffer.alloc(0);
  for await (const piece of createReadStream(file, { highWaterMark: PIECE_BYTES })) {
    const bytes = Buffer.concat([rest, piece as Buffer]);
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    // No name of an organisation stands before the number, and none has a line break.
    for (const line of bytes.toString('latin1', 0, end).split('\n')) {
      const [first = '', last = '', asn = ''] = line.split(',', 3);
      if (asn === '') continue;
      const from = Math.max(keyOf(first), next);
      const to = keyOf(last);
      if (to < from) continue;
      firsts.push(from);
      lasts.push(to);
      asns.push(Number(asn));
      next = to + 1;
    }
    rest = bytes.subarray(end);
  }
  return new Ranges(firsts, lasts, asns);
}
