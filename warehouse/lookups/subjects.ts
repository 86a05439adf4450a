import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { InputError } from '../../core/errors.ts';
import { formatIp, isMappedIpv4, parseIp, UNKNOWN_IP } from '../../core/ip.ts';
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

/** Bits of a network that are counted by. */
const IPV4_BITS = 24;
const IPV6_BITS = 64;

/** A network as its first and its last address. */
export interface Network {
  readonly first: string;
  readonly last: string;
  /** "198.51.100.0/24" or "2001:db8:1:2::/64". */
  readonly text: string;
}

/** The network around an address. */
export function networkAround(ip: string): Network {
  const bytes = parseIp(ip);
  if (!bytes) throw new InputError('value', 'must be an IPv4 or IPv6 address');
  const isIpv4 = isMappedIpv4(bytes);
  const hostBytes = isIpv4 ? 1 : 8;
  const end = (fill: number): string => formatIp(Buffer.from(bytes).fill(fill, bytes.length - hostBytes));
  return { first: end(0), last: end(0xff), text: `${end(0)}/${isIpv4 ? IPV4_BITS : IPV6_BITS}` };
}

/** A network as people write it: "198.51.100.0/24", or any address in it. @throws InputError `value`. */
export function parseSubnet(value: string): Network {
  const [address = '', bits, ...more] = value.split('/');
  const isWanted = bits === undefined || bits === String(address.includes(':') ? IPV6_BITS : IPV4_BITS);
  if (!isWanted || more.length > 0 || !parseIp(address)) {
    throw new InputError('value', 'must be a network such as 198.51.100.0/24 or 2001:db8:1:2::/64');
  }
  return networkAround(address);
}

/** An address in its one way of writing. @throws InputError `value`. */
export function parseAddress(value: string): string {
  const bytes = parseIp(value);
  if (!bytes) throw new InputError('value', 'must be an IPv4 or IPv6 address');
  return formatIp(bytes);
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
  /** One affiliate, or all that are paid to one account, with the campaigns of their programs. */
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
      // Every IPv4 address lies in ::/64 as it is stored, and no other one that a visitor has.
      const inside = first === UNKNOWN_IP ? NOTHING : 'ip BETWEEN {first:IPv6} AND {last:IPv6}';
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
