import { OperatingError } from '../../core/errors.ts';
import { plainText } from '../../core/text/plain-text.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { lockProgramBalances } from '../books/program-lock.ts';
import { closedAt, missingStatements } from '../books/statement-documents.ts';
import { eraseCases, type Subject, subjectsOfCustomer } from '../cases/subjects.ts';
import { emailHash } from '../conversions/emails.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/** What the ledger knows of a customer's person in a program. */
export interface FoundCustomer {
  readonly programId: number;
  /** The shop's id, the e-mail address, or its hash, as it was asked for. */
  readonly named: string;
  readonly conversionIds: readonly bigint[];
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

interface OrderOfCustomer {
  readonly id: bigint;
  readonly isUndecided: boolean;
  readonly ip: string | null;
  readonly clickIp: string | null;
}

/**
 * The orders of a customer. Named by an address, all orders of the ids that it was given with are the customer's as well.
 * @throws OperatingError `wrong_state` while one of them is not decided: its decision would say again what is erased.
 */
export async function findCustomer(
  sql: DatabaseSql,
  { programId, named: given }: { programId: number; named: string },
): Promise<FoundCustomer> {
  const named = plainText(given);
  const { customerId, emailHash: hash } = customerMarks(named);
  const bytes = hash === null ? null : Buffer.from(hash, 'hex');
  const found = await sql<OrderOfCustomer[]>`
    with named as (
      select customer_id from conversions
      where program_id = ${programId} and (customer_id = ${customerId} or customer_email_hash = ${bytes}::bytea)
    )
    select id, ${isUndecided(sql)} as is_undecided, host(ip) as ip, host(click_ip) as click_ip from conversions
    where program_id = ${programId}
      and (customer_email_hash = ${bytes}::bytea or customer_id in (select customer_id from named))
    order by id`;
  requireDecided(found);
  const addresses = found.flatMap(({ ip, clickIp }) => [ip, clickIp]).filter((ip) => ip !== null);
  return { programId, named, conversionIds: found.map(({ id }) => id), addresses: [...new Set(addresses)] };
}

/** Also while an unattributed order is looked at again, because a click may have come. */
const isUndecided = (sql: DatabaseSql) =>
  sql`(state in ('received', 'awaiting_click') or coalesce(claimed_until > clock_timestamp(), false))`;

function requireDecided(orders: readonly Pick<OrderOfCustomer, 'id' | 'isUndecided'>[]): void {
  const undecided = orders.find((order) => order.isUndecided);
  if (!undecided) return;
  throw new OperatingError(
    'wrong_state',
    `order cnv_${undecided.id} of this customer is not decided yet: repeat this when it is`,
  );
}

/**
 * Erases a customer that was found: of the orders id, hashes, addresses, user agent, fingerprint and evidence go, amounts,
 * states and the books stay. The addresses go with them, so the caller has erased the clicks of these before: it can then
 * be repeated after a crash. The audit log names the orders, and who credited those that a person had credited, because
 * that person does not approve their payouts. @throws OperatingError `wrong_state`.
 */
export async function eraseCustomer(
  tx: DatabaseTransaction,
  { customer, actor }: { customer: FoundCustomer; actor: string },
): Promise<void> {
  const { programId, named, conversionIds } = customer;
  // First of all, and while the orders say whose they are.
  const subjects = await subjectsOfCustomer(tx, { conversionIds, named });
  await eraseCases(tx, { programId, conversionIds, subjects });
  const orders = await tx<(Pick<OrderOfCustomer, 'id' | 'isUndecided'> & { creditedBy: string | null })[]>`
    select id, ${isUndecided(tx)} as is_undecided,
      coalesce(evidence -> 'manual' ->> 'creditedBy', evidence ->> 'creditedBy') as credited_by
    from conversions
    where id = any(${[...conversionIds]}::bigint[]) and (customer_id is not null or customer_email_hash is not null)
    order by id for no key update`;
  requireDecided(orders);
  const ids = orders.map(({ id }) => id);
  const { customerId, emailHash: hash } = customerMarks(named);
  const email = hash && `sha256:${hash}`;
  await tx`select erase_customer(${ids}::bigint[], ${programId}, ${customerId}, ${email})`;
  for (const { id, creditedBy } of orders) {
    await appendAuditLog(tx, {
      actor,
      action: 'customer.erase',
      subject: `cnv_${id}`,
      ...(creditedBy !== null && { after: { credited_by: creditedBy } }),
    });
  }
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
  const missing = await missingStatements(tx, affiliateId);
  const last = missing.at(-1);
  if (last !== undefined) {
    const day = closedAt(last).toISOString().slice(0, 10);
    return `who it is stands on its statement of ${missing.join(', ')}, which is made from ${day} (UTC) on: erase it then`;
  }
  const orders = await tx<{ id: bigint }[]>`
    select conversion_id as id from case_orders o join conversions c on c.id = o.conversion_id
    where c.affiliate_id = ${affiliateId}`;
  const links = await tx<{ id: number }[]>`select id from links where affiliate_id = ${affiliateId}`;
  const subjects: Subject[] = [
    { kind: 'affiliate', value: `aff_${affiliateId}` },
    { kind: 'account', value: `aff_${affiliateId}` },
    ...links.map(({ id }): Subject => ({ kind: 'link', value: `lnk_${id}` })),
  ];
  await eraseCases(tx, { programId, conversionIds: orders.map(({ id }) => id), subjects });
  await tx`select erase_affiliate(${affiliateId})`;
  return undefined;
}
