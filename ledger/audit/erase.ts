import { lockProgramBalances } from '../books/program-lock.ts';
import { emailHash } from '../conversions/emails.ts';
import type { Database, DatabaseTransaction } from '../postgres/db.ts';

/** What the ledger knew of a customer's person. */
export interface ErasedCustomer {
  readonly conversions: number;
  /** Addresses of the orders and of the clicks that won them. */
  readonly addresses: readonly string[];
}

/** What a customer is known by: the shop's id, the e-mail address, or its hash as shops send it. */
interface CustomerMarks {
  readonly customerId: string;
  /** In hexadecimal; null: it is no address. */
  readonly emailHash: string | null;
}

export function customerMarks(named: string): CustomerMarks {
  const [, hash] = /^sha256:([0-9a-f]{64})$/.exec(named) ?? [];
  if (hash !== undefined) return { customerId: named, emailHash: hash };
  return { customerId: named, emailHash: named.includes('@') ? emailHash(named) : null };
}

/**
 * Erases a customer from the orders: id, e-mail hash, addresses, user agent, fingerprint and evidence go, amounts,
 * states and the books stay. Named by an address, all orders of the ids that it was given with are the customer's as well.
 * `owner` is the schema's owner, because the application may not edit these columns.
 */
export async function eraseCustomer(owner: Database, named: string): Promise<ErasedCustomer> {
  const { customerId, emailHash: hash } = customerMarks(named);
  const bytes = hash === null ? null : Buffer.from(hash, 'hex');
  return await owner.begin(async (tx) => {
    const found = await tx<{ id: bigint; ip: string | null; clickIp: string | null }[]>`
      with named as (
        select program_id, customer_id from conversions
        where customer_id = ${customerId} or customer_email_hash = ${bytes}::bytea
      )
      select id, host(ip) as ip, host(click_ip) as click_ip from conversions c
      where customer_email_hash = ${bytes}::bytea
        or (program_id, customer_id) in (select program_id, customer_id from named where customer_id is not null)
      for no key update`;
    const ids = found.map(({ id }) => id);
    await tx`
      update conversions set customer_id = null, customer_email_hash = null, customer_mailbox_hash = null,
        payment_account_hash = null, ip = null, click_ip = null,
        user_agent = null, fingerprint = null, evidence = null
      where id = any(${ids}::bigint[])`;
    // What the shop called is kept as it came, addresses as hashes; of this person's calls only the outcome stays.
    await tx`
      update postback_calls set params = '{}', ip = null, request = null
      where conversion_id = any(${ids}::bigint[])
        or params ->> 'customer_id' = ${customerId} or params ->> 'customer_email' = ${`sha256:${hash}`}`;
    const addresses = found.flatMap(({ ip, clickIp }) => [ip, clickIp]).filter((ip) => ip !== null);
    return { conversions: found.length, addresses: [...new Set(addresses)] };
  });
}

/**
 * Removes who a terminated affiliate was (migrations/0035_operator_acts.sql): the books stay, under its id. Returns why it
 * cannot be done yet; undefined: it is done.
 */
export async function eraseAffiliate(
  tx: DatabaseTransaction,
  { programId, affiliateId }: { programId: number; affiliateId: number },
): Promise<string | undefined> {
  // No payout is built meanwhile.
  await lockProgramBalances(tx, programId);
  const [affiliate] = await tx<
    [{ status: string; isErased: boolean; unpaidMinor: bigint; inTransitMinor: bigint }]
  >`
    select status, erased_at is not null as is_erased,
      (select sum(balance_minor)::bigint from accounts
        where affiliate_id = f.id and kind in ('pending', 'available', 'debt', 'adjustments')) as unpaid_minor,
      (select sum(balance_minor)::bigint from accounts
        where affiliate_id = f.id and kind = 'in_transit') as in_transit_minor
    from affiliates f where id = ${affiliateId} for no key update of f`;
  if (affiliate.isErased) return 'the affiliate is erased already';
  if (affiliate.status !== 'terminated') return `the affiliate is ${affiliate.status}: terminate it first`;
  if (affiliate.inTransitMinor !== 0n) return 'one of its payouts is on its way: it must be closed first';
  if (affiliate.unpaidMinor > 0n) return 'it has money that is not paid: pay it, or let it forfeit';
  await tx`select erase_affiliate(${affiliateId})`;
  return undefined;
}
