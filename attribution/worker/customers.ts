import { findEarlierOrders } from '../../ledger/conversions/decision-facts.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { type Buying, type Customer, kindByItself, needsBooks } from '../decide/customer.ts';
import { askEach } from './ask-each.ts';

/**
 * Who bought, of each order whose terms have rates for it: one query for those of which neither the shop nor the
 * subscription says so, none where there are none.
 */
export async function gatherCustomers<One extends Buying>(
  sql: DatabaseSql,
  won: readonly One[],
): Promise<Map<One, Customer>> {
  const earlier = await askEach(
    won,
    (one) => (needsBooks(one) ? { ...one.conversion, conversionId: one.conversion.id } : undefined),
    (questions) => findEarlierOrders(sql, questions),
  );
  return new Map(
    won.map((one): [One, Customer] => {
      if (!earlier.has(one)) return [one, kindByItself(one)];
      const earlierOrder = earlier.get(one);
      return [
        one,
        {
          kind: earlierOrder === undefined ? 'new' : 'returning',
          by: 'books',
          earlierOrder: earlierOrder?.toString() ?? null,
        },
      ];
    }),
  );
}
