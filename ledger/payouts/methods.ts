import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { SecretBox } from '../../core/secret-box.ts';
import type { DatabaseSql } from '../postgres/db.ts';

export const PAYOUT_METHOD_KINDS = ['bank', 'paypal', 'stripe'] as const;
export type PayoutMethodKind = (typeof PAYOUT_METHOD_KINDS)[number];

/** Where an affiliate's money goes. */
export interface PayoutMethod {
  readonly affiliateId: number;
  readonly kind: PayoutMethodKind;
  /** Sealed. */
  readonly details: Buffer;
  /** Of the account, see {@link hashAccount}; null for methods set before it was kept. */
  readonly accountHash: Buffer | null;
  /** Enough to recognise it by, such as "…3000". */
  readonly hint: string;
  /** Counts the accounts that the affiliate has had. */
  readonly version: number;
  /** When the account was last changed; setting the same one again is no change. */
  readonly updatedAt: Date;
  /** Who changed it, as the audit log names them. */
  readonly changedBy: string;
}

const METHOD_COLUMNS = [
  'affiliateId',
  'kind',
  'details',
  'accountHash',
  'hint',
  'version',
  'updatedAt',
  'changedBy',
];

export async function getPayoutMethod(
  sql: DatabaseSql,
  affiliateId: number,
): Promise<PayoutMethod | undefined> {
  const [method] = await sql<PayoutMethod[]>`
    select ${sql(METHOD_COLUMNS)} from payout_methods where affiliate_id = ${affiliateId}`;
  return method;
}

/** Replaces an affiliate's payout method. Another account is on hold at first, the first one as well: see destinations.ts. */
export async function setPayoutMethod(
  sql: DatabaseSql,
  method: Omit<PayoutMethod, 'version' | 'updatedAt'>,
): Promise<PayoutMethod> {
  const [set] = await sql<[PayoutMethod]>`
    insert into payout_methods ${sql.values({ ...method })}
    on conflict (affiliate_id) do update set kind = excluded.kind, details = excluded.details,
      account_hash = excluded.account_hash, hint = excluded.hint, changed_by = excluded.changed_by
    returning ${sql(METHOD_COLUMNS)}`;
  return set;
}

/** What a payout method's details say, by its kind. */
export type PayoutDetails =
  | { readonly kind: 'bank'; readonly holder: string; readonly iban: string }
  | { readonly kind: 'paypal'; readonly email: string }
  | { readonly kind: 'stripe'; readonly account: string };

/** What is encrypted for this purpose decrypts for no other. */
const PURPOSE = 'payout method';
const storedDetails = z.looseObject({
  iban: z.string().optional(),
  email: z.string().optional(),
  account: z.string().optional(),
});

export function encryptPayoutDetails(secretBox: SecretBox, details: PayoutDetails): Buffer {
  return secretBox.encrypt(PURPOSE, JSON.stringify(details));
}

/** The account that money goes to: an IBAN, a PayPal address, or a Stripe account. */
export function decryptPayoutAccount(secretBox: SecretBox, encrypted: Uint8Array): string | null {
  const { iban, email, account } = storedDetails.parse(JSON.parse(secretBox.decrypt(PURPOSE, encrypted)));
  return iban ?? email ?? account ?? null;
}

export function accountOf(details: PayoutDetails): string {
  if (details.kind === 'bank') return details.iban;
  return details.kind === 'paypal' ? details.email : details.account;
}

/** SHA-256 of an account without its spaces and in lower case: tells two writings of one account from two accounts. */
export function hashAccount(account: string): Buffer {
  return createHash('sha256').update(account.replace(/\s/g, '').toLowerCase()).digest();
}

/** The hashes of affiliates' accounts, in hexadecimal, by affiliate; those without one are left out. */
export async function readAccountHashes(
  sql: DatabaseSql,
  affiliateIds: readonly number[],
): Promise<Map<number, string>> {
  const rows = await sql<{ affiliateId: number; accountHash: Buffer }[]>`
    select affiliate_id, account_hash from payout_methods
    where affiliate_id = any(${[...affiliateIds]}::integer[]) and account_hash is not null`;
  return new Map(rows.map(({ affiliateId, accountHash }) => [affiliateId, accountHash.toString('hex')]));
}
