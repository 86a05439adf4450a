import type { Warehouse } from '../clickhouse/client.ts';
import { texts } from '../clickhouse/literals.ts';

/** A mutation of a small table; with a long queue before it, it takes longer. */
const MUTATION_SETTINGS = { mutations_sync: 2 } as const;

/**
 * For a PostgreSQL that was restored to an earlier moment beside a warehouse that was not: forgets the copies of its
 * conversions and names, whose versions would win over those to come, and the signed heads of rows that are no more.
 * @param ends The newest row that each hash chain covers.
 */
export async function forgetLaterLedger(
  warehouse: Warehouse,
  ends: ReadonlyMap<string, bigint>,
): Promise<void> {
  await warehouse.command('TRUNCATE TABLE conversions');
  await warehouse.command('TRUNCATE TABLE names');
  const kept = [...ends].map(([chain, lastId]) => `(chain = ${texts([chain])} AND last_id <= ${lastId})`);
  await warehouse.command(
    `ALTER TABLE signed_heads DELETE WHERE NOT (${kept.length > 0 ? kept.join(' OR ') : '0'})`,
    {},
    MUTATION_SETTINGS,
  );
}
