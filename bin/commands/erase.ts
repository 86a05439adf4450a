import { OperatingError } from '../../core/errors.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { eraseAffiliate, eraseCustomer, type FoundCustomer, findCustomer } from '../../ledger/audit/erase.ts';
import { eraseCases } from '../../ledger/cases/subjects.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { eraseAddress } from '../../warehouse/audit/erase.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { parseIntegerId } from '../ids.ts';
import { withLedger, withWarehouse } from '../stores.ts';
import { renderTable } from '../table.ts';

/** Who is to be erased. */
interface ErasedPerson {
  readonly ip?: string;
  readonly customer?: string;
  readonly affiliate?: string;
}

const NAME = 'afflux-erase';
/** As the audit log names who did it. */
const ACTOR = 'command line';

/** `afflux erase`: removes a person, and prints what was found and left. */
export async function erase(person: ErasedPerson): Promise<void> {
  const { ip, customer, affiliate } = person;
  if ([ip, customer, affiliate].filter((named) => named !== undefined).length !== 1) {
    throw new OperatingError('nothing_to_erase', 'name one of --ip, --customer and --affiliate');
  }
  if (affiliate !== undefined) return await eraseAffiliateNow(parseIntegerId('affiliate', affiliate));
  if (customer !== undefined) return await eraseCustomerEverywhere(customer);
  await eraseAddressEverywhere(ip ?? '');
}

/** Of the books the cases that began with it alone: the addresses of orders go with their customers. */
async function eraseAddressEverywhere(ip: string): Promise<void> {
  await withWarehouse(NAME, (warehouse) => eraseClicks(warehouse, [ip]));
  const subject = { kind: 'ip', value: ip } as const;
  await withLedger(NAME, (ledger) =>
    inTransaction(ledger, (tx) =>
      eraseCases(tx, { programId: null, conversionIds: [], subjects: [subject] }),
    ),
  );
}

/** Prints what was found of each address, and what is left. */
async function eraseClicks(warehouse: Warehouse, addresses: readonly string[]): Promise<void> {
  const rows: string[][] = [];
  for (const address of addresses) {
    for (const { table, before, after } of await eraseAddress(warehouse, address)) {
      rows.push([address, table, `${before} rows before`, `${after} after`]);
      if (after > 0) process.exitCode = 1;
    }
  }
  if (rows.length > 0) process.stdout.write(`${renderTable(rows)}\n`);
}

/** In every program. The clicks first: which they are is said by the orders alone, so that it can be repeated. */
async function eraseCustomerEverywhere(named: string): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    const programs = await ledger<{ id: number }[]>`select id from programs order by id`;
    const found: FoundCustomer[] = [];
    for (const { id: programId } of programs) found.push(await findCustomer(ledger, { programId, named }));
    const addresses = [...new Set(found.flatMap((customer) => customer.addresses))];
    if (addresses.length > 0) await withWarehouse(NAME, (warehouse) => eraseClicks(warehouse, addresses));
    for (const customer of found) {
      await inTransaction(ledger, (tx) => eraseCustomer(tx, { customer, actor: ACTOR }));
    }
    const orders = found.reduce((sum, { conversionIds }) => sum + conversionIds.length, 0);
    process.stdout.write(`${orders} orders of customer ${named}; addresses: ${addresses.length}\n`);
  });
}

/** What the audit log says of the affiliate and its users goes with them; this is a new entry of it. */
async function eraseAffiliateNow(affiliateId: number): Promise<void> {
  const subject = `aff_${affiliateId}`;
  await withLedger(NAME, async (ledger) => {
    const fault = await inTransaction(ledger, async (tx) => {
      const affiliate = await getAffiliate(tx, affiliateId);
      if (!affiliate) return 'there is no such affiliate';
      const cannot = await eraseAffiliate(tx, { programId: affiliate.programId, affiliateId });
      if (cannot === undefined)
        await appendAuditLog(tx, { actor: ACTOR, action: 'affiliate.erase', subject });
      return cannot;
    });
    if (fault !== undefined) throw new OperatingError('nothing_to_erase', `${subject}: ${fault}`);
  });
  process.stdout.write(`${subject} is erased; its books stay.\n`);
}
