import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { SecretBox } from '../../core/secret-box.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { listWitnesses, normalEmail } from '../access/users.ts';
import { queueMail } from '../integrations/mails.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

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

/** False: there was none. */
export async function removePayoutMethod(tx: DatabaseTransaction, affiliateId: number): Promise<boolean> {
  const removed = await tx`delete from payout_methods where affiliate_id = ${affiliateId}`.affected();
  return removed > 0;
}

/** What a payout method's details say, by its kind. */
export type PayoutDetails =
  | { readonly kind: 'bank'; readonly holder: string; readonly iban: string }
  | { readonly kind: 'paypal'; readonly email: string }
  | { readonly kind: 'stripe'; readonly account: string };

/** What is encrypted for this purpose decrypts for no other. */
const PURPOSE = 'payout method';
const storedDetails = z.looseObject({
  holder: z.string().optional(),
  iban: z.string().optional(),
  email: z.string().optional(),
  account: z.string().optional(),
});

export function encryptPayoutDetails(secretBox: SecretBox, details: PayoutDetails): Buffer {
  return secretBox.encrypt(PURPOSE, JSON.stringify(details));
}

/** The account that money goes to: an IBAN with its holder, a PayPal address, or a Stripe account. */
export function decryptPayoutAccount(
  secretBox: SecretBox,
  encrypted: Uint8Array,
): { account: string | null; holder: string | null } {
  const { holder, iban, email, account } = storedDetails.parse(
    JSON.parse(secretBox.decrypt(PURPOSE, encrypted)),
  );
  return { account: iban ?? email ?? account ?? null, holder: holder ?? null };
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

/**
 * A payout to an account was refused or came back: no payouts go there until its affiliate sets another one, or an
 * operator allows it again. The affiliate and its users hear of it once, by mail. Nothing changes when the account has
 * changed since the payout was built. Without a secret box no mail is queued.
 */
export async function refuseDestination(
  tx: DatabaseTransaction,
  options: { payoutId: bigint; now: Date; actor: string; secretBox: SecretBox | undefined },
): Promise<void> {
  const { payoutId, now, actor, secretBox } = options;
  const [refused] = await tx<{ affiliateId: number; programId: number; hint: string }[]>`
    update payout_methods m set refused_at = ${now} from payouts p
    where p.id = ${payoutId} and m.affiliate_id = p.affiliate_id and m.version = p.method_version
      and m.refused_at is null
    returning m.affiliate_id, p.program_id, m.hint`;
  if (!refused) return;
  const { affiliateId, programId, hint } = refused;
  await appendAuditLog(tx, {
    actor,
    action: 'payout_method.refused',
    subject: `aff_${affiliateId}`,
    after: { payout_id: `pay_${payoutId}` },
  });
  if (!secretBox) return;
  const [owner] = await tx<[{ name: string; email: string }]>`
    select name, email from affiliates where id = ${affiliateId}`;
  const { affiliate } = await listWitnesses(tx, { programId, affiliateId });
  for (const to of new Set([owner.email, ...affiliate].map(normalEmail))) {
    await queueMail(tx, secretBox, {
      to,
      subject: 'A payment to you was refused',
      text: `Hello ${owner.name},\n\na payment to your payout method (${hint}) was refused or came back. Its amount is available again. No payouts go to this account until you set another payout method; ask us if you think that it is right.\n`,
    });
  }
}

/** Payouts go to a refused account again. False: it was not refused. */
export async function allowDestination(tx: DatabaseTransaction, affiliateId: number): Promise<boolean> {
  const allowed = await tx`
    update payout_methods set refused_at = null
    where affiliate_id = ${affiliateId} and refused_at is not null`.affected();
  return allowed > 0;
}
