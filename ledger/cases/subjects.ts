import { InputError } from '../../core/errors.ts';
import { formatIp, formatNetwork, isMappedIpv4, parseIp, parseNetwork } from '../../core/ip.ts';
import { emailHash } from '../conversions/emails.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/** What a case can begin with, and how it is forgotten. */

export const SUBJECT_KINDS = [
  'ip',
  'subnet',
  'asn',
  'fingerprint',
  'affiliate',
  'link',
  'customer',
  'account',
] as const;

export interface Subject {
  readonly kind: (typeof SUBJECT_KINDS)[number];
  /** Of an account: the affiliate that is paid there. */
  readonly value: string;
}

type SubjectKind = Subject['kind'];

/** Bits of the networks that are looked up, as `parseNetwork` counts them. */
const IPV4_BITS = 96 + 24;
const IPV6_BITS = 64;
const MAX_UINT32 = 2 ** 32 - 1;

/** Each reads a value into its one way of writing; undefined: it is none. */
const READERS: Readonly<Record<SubjectKind, { what: string; read: (value: string) => string | undefined }>> =
  {
    ip: { what: 'an IPv4 or IPv6 address', read: readIp },
    subnet: { what: 'a network such as 198.51.100.0/24 or 2001:db8:1:2::/64', read: readSubnet },
    asn: { what: 'the number of an autonomous system, such as AS680', read: readAsn },
    fingerprint: { what: 'a fingerprint: a whole number of 64 bits', read: readFingerprint },
    affiliate: { what: 'an id such as aff_1', read: idOf('aff') },
    link: { what: 'an id such as lnk_1', read: idOf('lnk') },
    customer: { what: 'an id of the shop or an e-mail address', read: readCustomer },
    account: { what: 'the id of the affiliate that is paid there, such as aff_1', read: idOf('aff') },
  };

function readIp(value: string): string | undefined {
  const bytes = parseIp(value);
  return bytes && formatIp(bytes);
}

function readSubnet(value: string): string | undefined {
  const network = value.includes('/') ? parseNetwork(value) : undefined;
  if (!network) return undefined;
  const { address, bits } = network;
  return bits === (isMappedIpv4(address) ? IPV4_BITS : IPV6_BITS) ? formatNetwork(network) : undefined;
}

function readAsn(value: string): string | undefined {
  const [, digits = '0'] = /^(?:AS)?(\d{1,10})$/i.exec(value) ?? [];
  const asn = Number(digits);
  return asn > 0 && asn <= MAX_UINT32 ? `AS${asn}` : undefined;
}

function readFingerprint(value: string): string | undefined {
  return /^\d{1,20}$/.test(value) && BigInt(value) < 2n ** 64n ? String(BigInt(value)) : undefined;
}

/** An e-mail address as `sha256:` and its hash: no address of a customer is stored. */
function readCustomer(value: string): string {
  return value.includes('@') ? `sha256:${emailHash(value)}` : value;
}

function idOf(prefix: string): (value: string) => string | undefined {
  const id = new RegExp(`^${prefix}_[1-9]\\d{0,9}$`);
  return (value) => (id.test(value) ? value : undefined);
}

/** A value in its one way of writing, as it is kept. @throws InputError `subject`: it is none of its kind. */
export function storedSubject({ kind, value }: Subject): string {
  const { what, read } = READERS[kind];
  const stored = read(value);
  if (stored === undefined) throw new InputError('subject', `must be ${what}`);
  return stored;
}

/** What the orders say of their customer, by which a case of it may have begun. */
export async function subjectsOfCustomer(
  sql: DatabaseSql,
  { conversionIds, named }: { conversionIds: readonly bigint[]; named: string },
): Promise<Subject[]> {
  const rows = await sql<Subject[]>`
    select distinct v.kind, v.value from conversions c cross join lateral (
      values ('customer', c.customer_id), ('customer', 'sha256:' || encode(c.customer_email_hash, 'hex')),
        ('ip', host(c.ip)), ('ip', host(c.click_ip)),
        ('fingerprint', (c.fingerprint + case when c.fingerprint < 0 then 18446744073709551616 else 0 end)::text)
    ) v (kind, value)
    where c.id = any(${[...conversionIds]}::bigint[]) and v.value is not null`;
  return [{ kind: 'customer', value: named }, ...rows];
}

/**
 * Erases what was written in cases that hold, or held, one of these orders, or began with one of these subjects, and where
 * they began. They are locked, so the caller locks their orders after this, as decisions do. `programId` null: in every
 * program.
 */
export async function eraseCases(
  tx: DatabaseTransaction,
  erased: { programId: number | null; conversionIds: readonly bigint[]; subjects: readonly Subject[] },
): Promise<void> {
  const { programId, conversionIds, subjects } = erased;
  await tx`
    select erase_cases(${[...conversionIds]}::bigint[], ${programId}, ${subjects.map(({ kind }) => kind)}::text[],
      ${subjects.map(storedSubject)}::text[])`;
}
