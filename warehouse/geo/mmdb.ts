import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Reader, type Response } from 'mmdb-lib';
import { OperatingError } from '../../core/errors.ts';

/** A MaxMind database keeps IPv4 in the lowest 32 bits of the IPv6 space: ::/96. */
const IPV4_DEPTH = 96;
const IPV6_BITS = 128;

/** A list of networks with a value for each. */
export interface NetworkList<Value> {
  /** In CIDR notation, IPv4 mapped (::ffff:1.0.0.0/104). */
  readonly networks: Iterable<{ readonly network: string; readonly value: Value }>;
  readonly builtAt: Date;
  /** Its name for people. */
  readonly source: string;
}

/**
 * The networks of a MaxMind database (.mmdb) for whose record `read` returns a value.
 * @throws OperatingError `geo_unreadable` when the file is missing or is no such database.
 */
export function readMmdb<Value>(
  file: string,
  read: (record: Response | null) => Value | undefined,
): NetworkList<Value> {
  if (!existsSync(file)) throw unreadable(file, 'there is no such file');
  const bytes = readFileSync(file);
  const reader = openDatabase(file, bytes);
  return {
    networks: walk(reader, bytes, read),
    builtAt: reader.metadata.buildEpoch,
    source: basename(file),
  };
}

function openDatabase(file: string, bytes: Buffer): Reader<Response> {
  try {
    return new Reader<Response>(bytes);
  } catch (cause) {
    throw unreadable(file, 'it is no MaxMind database', cause);
  }
}

export function unreadable(file: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError('geo_unreadable', `cannot read networks from ${file}: ${why}`, { cause });
}

/**
 * Every network of the search tree with its record. https://maxmind.github.io/MaxMind-DB/: two records a node, each
 * the number of another node, or node count (nothing), or beyond (data).
 */
function* walk<Value>(
  reader: Reader<Response>,
  bytes: Buffer,
  read: (record: Response | null) => Value | undefined,
): Generator<{ network: string; value: Value }> {
  // Few records stand behind many networks: each is decoded once.
  const values = new Map<number, Value | undefined>();
  const { nodeCount, recordSize, ipVersion } = reader.metadata;
  const child = nodeReader(bytes, recordSize);
  const ipv4Root = ipVersion === 6 ? descend(child, IPV4_DEPTH, nodeCount) : 0;
  const startDepth = ipVersion === 6 ? 0 : IPV4_DEPTH;
  const stack: { node: number; depth: number; address: Buffer }[] = [
    { node: 0, depth: startDepth, address: Buffer.alloc(16) },
  ];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { node, depth, address } = next;
    for (const bit of [1, 0] as const) {
      const target = child(node, bit);
      if (target === nodeCount) continue;
      const at = withBit(address, depth, bit);
      const inIpv4 = at.subarray(0, 12).every((byte) => byte === 0);
      // Databases of MaxMind point from other prefixes, such as 2002::/16, to the same IPv4 networks.
      if (target === ipv4Root && depth + 1 !== startDepth && !(inIpv4 && depth + 1 === IPV4_DEPTH)) continue;
      if (target < nodeCount) {
        stack.push({ node: target, depth: depth + 1, address: at });
        continue;
      }
      const ipv4 = inIpv4 && depth + 1 >= IPV4_DEPTH;
      const text = ipv4 ? at.subarray(12).join('.') : groups(at);
      if (!values.has(target)) values.set(target, read(reader.get(text)));
      const value = values.get(target);
      if (value !== undefined) yield { network: `${ipv4 ? '::ffff:' : ''}${text}/${depth + 1}`, value };
    }
  }
}

/** The eight groups of an IPv6 address, none left out: quick to write half a million times. */
export function groups(address: Buffer): string {
  return address.toString('hex').replace(/.{4}(?=.)/g, '$&:');
}

type Child = (node: number, bit: 0 | 1) => number;

/** Reads a node's record: two of 24, 28 or 32 bits; at 28 the middle byte holds the high bits of both. */
function nodeReader(bytes: Buffer, recordSize: number): Child {
  const nodeBytes = recordSize / 4;
  return (node, bit) => {
    const at = node * nodeBytes;
    if (recordSize === 24) return bytes.readUIntBE(at + 3 * bit, 3);
    if (recordSize === 32) return bytes.readUInt32BE(at + 4 * bit);
    const middle = bytes[at + 3] ?? 0;
    const high = bit === 0 ? middle >> 4 : middle & 0x0f;
    return high * 2 ** 24 + bytes.readUIntBE(at + 4 * bit, 3);
  };
}

/** The node that `depth` zeros lead to. */
function descend(child: Child, depth: number, nodeCount: number): number {
  let node = 0;
  for (let i = 0; i < depth && node < nodeCount; i++) node = child(node, 0);
  return node;
}

function withBit(address: Buffer, position: number, bit: 0 | 1): Buffer {
  const copy = Buffer.from(address);
  if (bit === 1 && position < IPV6_BITS) {
    const at = position >> 3;
    copy[at] = (copy[at] ?? 0) | (0x80 >> (position & 7));
  }
  return copy;
}
