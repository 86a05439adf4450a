import { type KeyObject, sign, verify } from 'node:crypto';
import { timeText, type Warehouse } from '../clickhouse/client.ts';

/** A head of a hash chain of PostgreSQL: the hash over every row of the chain up to one. */
export interface SignedHead {
  readonly chain: string;
  readonly lastId: bigint;
  /** SHA-256, hexadecimal. */
  readonly head: string;
}

/** The signed text: the public key is enough to check it. */
function statement({ chain, lastId, head }: SignedHead): Buffer {
  return Buffer.from(`afflux-chain-head ${chain} ${lastId} ${head}`);
}

/**
 * Signs heads and keeps them here, in another store than the rows that they cover. `key` is an Ed25519 private key.
 */
export async function signHeads(
  warehouse: Warehouse,
  heads: readonly SignedHead[],
  options: { key: KeyObject; now: number },
): Promise<void> {
  if (heads.length === 0) return;
  await warehouse.insertRows(
    'signed_heads',
    heads.map((signed) => ({
      chain: signed.chain,
      last_id: signed.lastId.toString(),
      head: signed.head,
      signed_at: timeText(options.now),
      signature: sign(null, statement(signed), options.key).toString('base64'),
    })),
  );
}

/** Every head that was signed, and the first whose signature is not valid. `key` is the public key. */
export async function readSignedHeads(
  warehouse: Warehouse,
  options: { key: KeyObject },
): Promise<{ heads: SignedHead[]; forged: SignedHead | undefined }> {
  const { rows } = await warehouse.query<{ chain: string; id: string; head: string; signature: string }>(
    'SELECT chain, toString(last_id) AS id, head, signature FROM signed_heads ORDER BY chain, last_id',
  );
  const heads = rows.map(({ id, signature, ...row }) => ({ ...row, lastId: BigInt(id), signature }));
  const forged = heads.find(
    (head) => !verify(null, statement(head), options.key, Buffer.from(head.signature, 'base64')),
  );
  return { heads, forged };
}
