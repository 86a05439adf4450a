import type { Database } from '../postgres/db.ts';

/** What the ledger knew of a customer's person. */
export interface ErasedCustomer {
  readonly conversions: number;
  /** Addresses of the orders and of the clicks that won them. */
  readonly addresses: readonly string[];
}

/**
 * Erases a customer from the orders: id, e-mail hash, addresses, user agent, fingerprint and evidence go, amounts,
 * states and the books stay. `owner` is the schema's owner, because the application may not edit these columns.
 */
export async function eraseCustomer(owner: Database, customerId: string): Promise<ErasedCustomer> {
  return await owner.begin(async (tx) => {
    const found = await tx<{ id: bigint; ip: string | null; clickIp: string | null }[]>`
      select id, host(ip) as ip, host(click_ip) as click_ip from conversions
      where customer_id = ${customerId} for no key update`;
    await tx`
      update conversions set customer_id = null, customer_email_hash = null, customer_mailbox_hash = null,
        payment_account_hash = null, ip = null, click_ip = null,
        user_agent = null, fingerprint = null, evidence = null
      where customer_id = ${customerId}`;
    // What the shop called is kept as it came; of this person's calls only the outcome stays.
    await tx`
      update postback_calls set params = '{}', ip = null
      where conversion_id = any(${found.map(({ id }) => id)}::bigint[])
        or params ->> 'customer_id' = ${customerId}`;
    const addresses = found.flatMap(({ ip, clickIp }) => [ip, clickIp]).filter((ip) => ip !== null);
    return { conversions: found.length, addresses: [...new Set(addresses)] };
  });
}
