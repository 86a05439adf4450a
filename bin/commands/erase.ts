import { clickhouseServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import { plainText } from '../../core/text/plain-text.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { eraseAffiliate, eraseCustomer } from '../../ledger/audit/erase.ts';
import { connectOwner, inTransaction } from '../../ledger/postgres/db.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { eraseAddress } from '../../warehouse/audit/erase.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { readConfig } from '../environment.ts';
import { parseIntegerId } from '../ids.ts';
import { requireOwnerUrl, withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

/** Who is to be erased. */
interface ErasedPerson {
  readonly ip?: string;
  readonly customer?: string;
  readonly affiliate?: string;
}

/** `afflux erase`: removes a person, and prints what was found and left. */
export async function erase(person: ErasedPerson): Promise<void> {
  const { ip, customer, affiliate } = person;
  if ([ip, customer, affiliate].filter((named) => named !== undefined).length !== 1) {
    throw new OperatingError('nothing_to_erase', 'name one of --ip, --customer and --affiliate');
  }
  if (affiliate !== undefined) return await eraseAffiliateNow(parseIntegerId('affiliate', affiliate));
  const addresses = customer === undefined ? [ip ?? ''] : await eraseFromLedger(customer);
  const warehouse = await connectWarehouse({ ...clickhouseServer(readConfig()), name: 'afflux-erase' });
  try {
    const rows: string[][] = [];
    for (const address of addresses) {
      for (const { table, before, after } of await eraseAddress(warehouse, address)) {
        rows.push([address, table, `${before} rows before`, `${after} after`]);
        if (after > 0) process.exitCode = 1;
      }
    }
    if (rows.length > 0) process.stdout.write(`${renderTable(rows)}\n`);
  } finally {
    await warehouse.close();
  }
}

/** What the audit log says of the affiliate and its users goes with them; this is a new entry of it. */
async function eraseAffiliateNow(affiliateId: number): Promise<void> {
  const subject = `aff_${affiliateId}`;
  await withLedger('afflux-erase', async (ledger) => {
    const fault = await inTransaction(ledger, async (tx) => {
      const affiliate = await getAffiliate(tx, affiliateId);
      if (!affiliate) return 'there is no such affiliate';
      const cannot = await eraseAffiliate(tx, { programId: affiliate.programId, affiliateId });
      if (cannot === undefined)
        await appendAuditLog(tx, { actor: 'command line', action: 'affiliate.erase', subject });
      return cannot;
    });
    if (fault !== undefined) throw new OperatingError('nothing_to_erase', `${subject}: ${fault}`);
  });
  process.stdout.write(`${subject} is erased; its books stay.\n`);
}

async function eraseFromLedger(customer: string): Promise<readonly string[]> {
  const owner = await connectOwner({ url: requireOwnerUrl(readConfig()), name: 'afflux-erase' });
  try {
    const { conversions, addresses } = await eraseCustomer(owner, plainText(customer));
    process.stdout.write(`${conversions} orders of customer ${customer}; addresses: ${addresses.length}\n`);
    return addresses;
  } finally {
    await owner.end({ timeoutMs: 5_000 });
  }
}
