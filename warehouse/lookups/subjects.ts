import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { InputError } from '../../core/errors.ts';
import { formatIp, isMappedIpv4, isShortened, networkBytes, parseIp, UNKNOWN_IP } from '../../core/ip.ts';
import type { QueryParams } from '../clickhouse/client.ts';
import { numbers } from '../clickhouse/literals.ts';

/** What clicks and orders are looked up by, and the conditions by which they are found. */

/** A program as the tables of velocity know it, which have campaigns alone. */
export interface ProgramScope {
  readonly id: number;
  readonly campaignIds: readonly number[];
}

/** The network of an address that is counted by: /24 of IPv4, /64 of IPv6; its first address. */
export const subnetSql = (ip: string): string =>
  `tupleElement(IPv6CIDRToRange(${ip}, if(${ip} BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 64)), 1)`;

/** Bytes of a network that is counted by: /24 of IPv4, /64 of IPv6. */
const IPV4_BYTES = 15;
const IPV6_BYTES = 8;

/** A network as the first and the last address that count as of it. */
export interface Network {
  readonly first: string;
  readonly last: string;
  /** "198.51.100.0/24", "2001:db8:1:2::/64", or "2001:db8:1::/48", which shortened addresses are of. */
  readonly text: string;
}

function networkOf(ip: Uint8Array, bytes: number): Network {
  const isIpv4 = isMappedIpv4(ip);
  const end = (fill: number) => Buffer.from(ip).fill(fill, bytes);
  const first = end(0);
  const text = `${formatIp(first)}/${8 * bytes - (isIpv4 ? 96 : 0)}`;
  // As an address, the first one of a /48 stands for all shortened ones in it, and not for one in its first /64.
  if (bytes > networkBytes(ip) && isShortened(first)) first[first.length - 1] = 1;
  return { first: formatIp(first), last: formatIp(end(0xff)), text };
}

/** The network around an address: /24 of IPv4, /64 of IPv6, and /48 around one of IPv6 that is shortened. @throws InputError `value`. */
export function networkAround(ip: string): Network {
  const bytes = addressBytes(ip);
  if (isShortened(bytes)) return networkOf(bytes, networkBytes(bytes));
  return networkOf(bytes, isMappedIpv4(bytes) ? IPV4_BYTES : IPV6_BYTES);
}

/** The network that the list of velocity names by its first address, or as a /48 by its last. */
export function listedNetwork(ip: string): Network {
  const bytes = addressBytes(ip);
  if (isMappedIpv4(bytes)) return networkOf(bytes, IPV4_BYTES);
  const isLast = bytes.subarray(networkBytes(bytes)).every((byte) => byte === 0xff);
  return networkOf(bytes, isLast ? networkBytes(bytes) : IPV6_BYTES);
}

/** Whether an address is the network of visitors whose own is not kept. */
export function isNetworkOnly(ip: string): boolean {
  const bytes = parseIp(ip);
  return bytes !== undefined && isShortened(bytes);
}

const WRONG_NETWORK = 'must be a network such as 198.51.100.0/24, 2001:db8:1:2::/64 or 2001:db8:1::/48';

/** A network as people write it: "198.51.100.0/24", or any address in it. @throws InputError `value`. */
export function parseSubnet(value: string): Network {
  const [address = '', bits, ...more] = value.split('/');
  const bytes = parseIp(address);
  if (!bytes || more.length > 0) throw new InputError('value', WRONG_NETWORK);
  const isIpv4 = isMappedIpv4(bytes);
  const kept = (isIpv4 ? [IPV4_BYTES] : [IPV6_BYTES, networkBytes(bytes)]).find(
    (count) => String(8 * count - (isIpv4 ? 96 : 0)) === bits,
  );
  if (bits !== undefined && kept === undefined) throw new InputError('value', WRONG_NETWORK);
  const network = kept === undefined ? networkAround(address) : networkOf(bytes, kept);
  // Every IPv4 address lies in it as addresses are stored, and no IPv6 address that a visitor has.
  if (network.text.startsWith('::/')) throw new InputError('value', 'must be a network that visitors have');
  return network;
}

/** An address in its one way of writing. @throws InputError `value`. */
export function parseAddress(value: string): string {
  const ip = formatIp(addressBytes(value));
  if (ip !== UNKNOWN_IP) return ip;
  throw new InputError(
    'value',
    'must be an address that visitors have: this one stands for those that are not known',
  );
}

function addressBytes(value: string): Buffer {
  const bytes = parseIp(value);
  if (!bytes) throw new InputError('value', 'must be an IPv4 or IPv6 address');
  return bytes;
}

/** 64 unsigned bits as a decimal number. @throws InputError `value`. */
export function parseFingerprint(value: string): string {
  if (/^\d{1,20}$/.test(value) && BigInt(value) < 2n ** 64n) return String(BigInt(value));
  throw new InputError('value', 'must be a fingerprint: a whole number of 64 bits');
}

/** "AS680" or 680. @throws InputError `value`. */
export function parseAsn(value: string): number {
  const [, digits] = /^(?:AS)?(\d{1,10})$/i.exec(value) ?? [];
  const asn = Number(digits);
  if (digits !== undefined && asn > 0 && asn < 2 ** 32) return asn;
  throw new InputError('value', 'must be the number of an autonomous system, such as AS680');
}

/** Whose clicks and orders are meant. */
export type Subject =
  | { readonly kind: 'ip'; readonly ip: string }
  | { readonly kind: 'subnet'; readonly network: Network }
  | { readonly kind: 'fingerprint'; readonly fingerprint: string }
  | { readonly kind: 'asn'; readonly asn: number }
  /** One affiliate, or all that are paid to one account, with the campaigns that they have clicks in. */
  | {
      readonly kind: 'affiliates';
      readonly affiliateIds: readonly number[];
      readonly campaignIds: readonly number[];
    }
  | { readonly kind: 'link'; readonly linkId: number; readonly campaignId: number }
  /** Orders of a customer, and the clicks that won them. */
  | {
      readonly kind: 'orders';
      readonly conversionIds: readonly bigint[];
      readonly clicks: readonly ClickIdentity[];
    };

/** Addresses are kept so long, and every answer of the explorer is of these days. */
export const EXPLORED_DAYS = 90;

/** Conditions over the tables of clicks and of conversions, with their parameters. */
export interface Selection {
  readonly clicks: string;
  readonly orders: string;
  readonly params: QueryParams;
  /** When the clicks were, Unix milliseconds, where that is known beforehand. */
  readonly times: readonly number[] | undefined;
  /** Whether a projection of `clicks` is sorted by the key, so that the key's clicks alone are read. */
  readonly isSorted: boolean;
  /** Whether the rollups know the key: they count its clicks by hour and by minute. */
  readonly isRolledUp: boolean;
  /** Whether it is of affiliates, by whom a rollup is sorted. */
  readonly ofAffiliates: boolean;
  /** Days before now of which all clicks are counted: 1 where that reads the clicks of everybody. */
  readonly countedDays: number;
}

const NOTHING = 'false';

/** Who opted out has the fingerprint 0, and who was erased the address ::, as everybody else who did: they match nothing. */
export function select(subject: Subject, programId: number | undefined): Selection {
  const program = programId === undefined ? 'true' : 'program_id = {program:UInt32}';
  const { clicks, orders, params = {}, times, isSorted = false } = conditions(subject);
  return {
    clicks: `${clicks} AND ${program}`,
    orders: `${orders} AND ${program}`,
    params: programId === undefined ? params : { ...params, program: programId },
    times,
    isSorted,
    isRolledUp: subject.kind === 'affiliates' || subject.kind === 'link',
    ofAffiliates: subject.kind === 'affiliates',
    countedDays: subject.kind === 'asn' ? 1 : EXPLORED_DAYS,
  };
}

function conditions(
  subject: Subject,
): Pick<Selection, 'clicks' | 'orders'> & Partial<Pick<Selection, 'params' | 'times' | 'isSorted'>> {
  switch (subject.kind) {
    case 'ip': {
      const same = subject.ip === UNKNOWN_IP ? NOTHING : 'ip = {ip:IPv6}';
      return { clicks: same, orders: same, params: { ip: subject.ip }, isSorted: true };
    }
    case 'subnet': {
      const { first, last } = subject.network;
      const inside = 'ip BETWEEN {first:IPv6} AND {last:IPv6}';
      return { clicks: inside, orders: inside, params: { first, last }, isSorted: true };
    }
    case 'fingerprint': {
      const same = subject.fingerprint === '0' ? NOTHING : 'fingerprint = {fingerprint:UInt64}';
      return { clicks: same, orders: same, params: { fingerprint: subject.fingerprint }, isSorted: true };
    }
    case 'asn':
      return {
        clicks: 'asn = {asn:UInt32}',
        orders: "dictGet('asn', 'asn', ip) = {asn:UInt32}",
        params: { asn: subject.asn },
      };
    case 'affiliates': {
      const ofAffiliates = `affiliate_id IN ${numbers('UInt32', subject.affiliateIds)}`;
      return {
        clicks: `campaign_id IN ${numbers('UInt32', subject.campaignIds)} AND ${ofAffiliates}`,
        orders: ofAffiliates,
      };
    }
    case 'link':
      return {
        clicks: 'campaign_id = {campaign:UInt32} AND link_id = {link:UInt32}',
        orders: 'link_id = {link:UInt32}',
        params: { campaign: subject.campaignId, link: subject.linkId },
      };
    case 'orders': {
      const { clicks, conversionIds } = subject;
      const identities = clicks.map(({ ts, node, seq }) => `(${ts}, ${node}, ${seq})`).join();
      return {
        clicks: clicks.length === 0 ? NOTHING : `(toUnixTimestamp64Milli(ts), node, seq) IN (${identities})`,
        orders: `conversion_id IN ${numbers('UInt64', conversionIds)}`,
        times: clicks.map(({ ts }) => ts),
      };
    }
  }
}
