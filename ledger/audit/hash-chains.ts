import type { Database, DatabaseSql } from '../postgres/db.ts';

/** Hash chains over rows that are never changed (migrations/0027_hash_chains.sql). */
export const HASH_CHAINS = ['audit_log', 'journals'] as const;
export type HashChain = (typeof HASH_CHAINS)[number];

/** A transaction that writes such rows lasts at most as long as its statements may; most are over at once. */
const PATIENCE = '10 seconds';

/** Chains the rows that are committed; returns how many of each chain. */
export async function extendHashChains(ledger: Database): Promise<Record<HashChain, bigint>> {
  const chained: Record<HashChain, bigint> = { audit_log: 0n, journals: 0n };
  for (const chain of HASH_CHAINS) {
    // The first time after long it reads all that was written meanwhile.
    await ledger.begin(async (tx) => {
      await tx.withoutTimeLimit();
      const [row] = await tx<
        { rows: bigint }[]
      >`select extend_hash_chain(${chain}, ${PATIENCE}::interval) as rows`;
      chained[chain] = row?.rows ?? 0n;
    });
  }
  return chained;
}

/** The hash that covers every row of a chain up to one. */
export interface ChainHead {
  readonly chain: string;
  readonly lastId: bigint;
  /** SHA-256, hexadecimal. */
  readonly head: string;
}

/** The newest head of each chain that has rows. */
export async function readChainHeads(sql: DatabaseSql): Promise<ChainHead[]> {
  return await sql<ChainHead[]>`
    select distinct on (chain) chain, last_id, encode(head, 'hex') as head from hash_chain order by chain, last_id desc`;
}

/** The first of these heads that the chains do not have. */
export async function findForeignHead(
  sql: DatabaseSql,
  heads: readonly ChainHead[],
): Promise<ChainHead | undefined> {
  const [foreign] = await sql<ChainHead[]>`
    select chain, last_id, head
    from unnest(
      ${heads.map(({ chain }) => chain)}::text[], ${heads.map(({ lastId }) => lastId)}::bigint[],
      ${heads.map(({ head }) => head)}::text[]
    ) as signed (chain, last_id, head)
    where not exists (
      select from hash_chain h where (h.chain, h.last_id, encode(h.head, 'hex')) = (signed.chain, signed.last_id, signed.head)
    )
    order by chain, last_id limit 1`;
  return foreign;
}
