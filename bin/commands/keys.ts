import { OperatingError } from '../../core/errors.ts';
import { readCountKeys } from '../../core/keys/count-key.ts';
import {
  fingerprintsOf,
  forgetPlatformKey,
  type KeyKind,
  listPlatformKeys,
  type ProcessKeys,
} from '../../core/keys/platform-keys.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { readConfig } from '../environment.ts';
import { withLedger } from '../stores.ts';
import { renderTable } from '../table.ts';

const NAME = 'afflux-keys';

/** `afflux keys`: the fingerprints of the keys that the platform knows, and of those that this machine has. */
export async function showKeys(): Promise<void> {
  const config = readConfig();
  const own: readonly ProcessKeys[] = [
    { kind: 'click', keys: config.clickKeys },
    { kind: 'data', keys: config.dataKeys },
    readCountKeys(config.home),
  ];
  await withLedger(NAME, async (ledger) => {
    const known = await listPlatformKeys(ledger);
    const here = own.flatMap((keys) =>
      fingerprintsOf(keys).map((fingerprint) => `${keys.kind} ${fingerprint}`),
    );
    const rows = known.map(({ kind, fingerprint, registeredAt }) => [
      kind,
      fingerprint,
      `in use since ${registeredAt.toISOString()}`,
      here.includes(`${kind} ${fingerprint}`) ? 'here' : 'NOT here',
    ]);
    const names = known.map(({ kind, fingerprint }) => `${kind} ${fingerprint}`);
    const unused = here
      .filter((name) => !names.includes(name))
      .map((name) => [...name.split(' '), 'not in use', 'here']);
    process.stdout.write(`${renderTable([...rows, ...unused])}\n`);
  });
}

/** `afflux keys forget`: nothing that the key made is needed any more. */
export async function forgetKey(kind: KeyKind, fingerprint: string): Promise<void> {
  await withLedger(NAME, async (ledger) => {
    await inTransaction(ledger, async (tx) => {
      if (!(await forgetPlatformKey(tx, { kind, fingerprint }))) {
        throw new OperatingError('not_found', `the platform knows no ${kind} key ${fingerprint}`);
      }
      const subject = `${kind} key ${fingerprint}`;
      await appendAuditLog(tx, { actor: 'command line', action: 'platform_key.forget', subject });
    });
    process.stdout.write(`Processes may start without the ${kind} key ${fingerprint}.\n`);
  });
}
