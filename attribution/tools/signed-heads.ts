import { createPublicKey, type KeyObject } from 'node:crypto';
import type { AuditCheck } from '../../ledger/audit/checks.ts';
import { type ChainHead, findForeignHead, readChainHeads } from '../../ledger/audit/hash-chains.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { readSignedHeads, signHeads } from '../../warehouse/audit/signed-heads.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';

/**
 * Looks for the heads signed by earlier audits in the chains, and signs the present ones. They are kept in ClickHouse: the
 * owner of PostgreSQL can write its rows and their chain again, and not lead them to these heads.
 */
export async function checkSignedHeads(options: {
  warehouse: Warehouse;
  ledger: Database;
  /** Ed25519. */
  countKey: KeyObject;
}): Promise<Omit<AuditCheck, 'store'>> {
  const { warehouse, ledger, countKey: key } = options;
  const name = 'signed_heads';
  const { heads: signed, forged } = await readSignedHeads(warehouse, { key: createPublicKey(key) });
  if (forged) return { name, ok: false, detail: `${describeHead(forged)}: the signature is not valid` };
  const foreign = await findForeignHead(ledger, signed);
  if (foreign) {
    const detail = `${describeHead(foreign)} was signed, and the rows up to there do not lead to it any more`;
    return { name, ok: false, detail };
  }
  const present = await readChainHeads(ledger);
  const added = present.filter((head) => !signed.some((other) => describeHead(other) === describeHead(head)));
  await signHeads(warehouse, added, { key, now: Date.now() });
  return {
    name,
    ok: true,
    detail: `${signed.length} signed heads confirmed, ${added.length} signed now: ${present.map(describeHead).join(', ')}`,
  };
}

function describeHead({ chain, lastId, head }: ChainHead): string {
  return `${chain} up to ${lastId} ${head}`;
}
