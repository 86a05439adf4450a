import { clickhouseServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import { eraseCustomer } from '../../ledger/audit/erase.ts';
import { connectOwner } from '../../ledger/postgres/db.ts';
import { eraseAddress } from '../../warehouse/audit/erase.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { readConfig } from '../environment.ts';
import { renderTable } from '../table.ts';

/** `afflux erase`: removes a person, named by address or by the shop's customer id, and prints what was found and left. */
export async function erase(options: { ip?: string; customer?: string }): Promise<void> {
  const { ip, customer } = options;
  if ((ip === undefined) === (customer === undefined)) {
    throw new OperatingError('nothing_to_erase', 'name either --ip or --customer');
  }
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

async function eraseFromLedger(customerId: string): Promise<readonly string[]> {
  const owner = await connectOwner({ url: readConfig().databaseUrl, name: 'afflux-erase' });
  try {
    const { conversions, addresses } = await eraseCustomer(owner, customerId);
    process.stdout.write(`${conversions} orders of customer ${customerId}; addresses: ${addresses.length}\n`);
    return addresses;
  } finally {
    await owner.end({ timeoutMs: 5_000 });
  }
}
