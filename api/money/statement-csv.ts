import { balanceAt, listStatement, type StatementAmounts } from '../../ledger/books/statements.ts';
import { csvCell, forPeople } from '../../ledger/payouts/providers/payment-file.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { MAX_PAGE_ROWS } from '../../ledger/postgres/page.ts';
import { formatOptionalId } from '../schemas/ids.ts';
import { formatMoney, formatTime } from '../schemas/schemas.ts';

/** A statement as CSV: what there was, every movement, what there is. */

const HEADER =
  'at,kind,conversion_id,payout_id,pending,available,in_transit,paid,debt,currency,destination,adjustments,note\r\n';

/** The text page by page, so that a year of movements takes no memory. */
export async function* statementCsv(
  ledger: Database,
  options: { affiliateId: number; currency: string; from: Date; to: Date },
): AsyncGenerator<string> {
  const { affiliateId, currency, from, to } = options;
  const row = (
    at: Date,
    kind: string,
    ids: readonly (string | null)[],
    sums: StatementAmounts & { destinationHint?: string | null; note?: string | null },
  ): string => {
    const amounts = [
      sums.pendingMinor,
      sums.availableMinor,
      sums.inTransitMinor,
      sums.paidMinor,
      sums.debtMinor,
    ];
    const cells = amounts.map((minor) => formatMoney(minor, currency).amount);
    // The cells with somebody's text: a part of an address, and why an adjustment was made.
    const [destination, note] = [sums.destinationHint, sums.note].map((somebodys) =>
      somebodys ? csvCell(forPeople(somebodys)) : '',
    );
    const adjustments = formatMoney(sums.adjustmentsMinor, currency).amount;
    const texts = [
      formatTime(at),
      kind,
      ...ids.map((id) => id ?? ''),
      ...cells,
      currency,
      destination,
      adjustments,
      note,
    ];
    return `${texts.join(',')}\r\n`;
  };
  yield HEADER + row(from, 'opening', [null, null], await balanceAt(ledger, { affiliateId, at: from }));
  let after: bigint | undefined;
  do {
    const page = await listStatement(ledger, { affiliateId, from, to, after, limit: MAX_PAGE_ROWS });
    yield page.rows
      .map((line) =>
        row(
          line.at,
          line.kind,
          [formatOptionalId('conversion', line.conversionId), formatOptionalId('payout', line.payoutId)],
          line,
        ),
      )
      .join('');
    after = page.next ?? undefined;
  } while (after !== undefined);
  yield row(to, 'closing', [null, null], await balanceAt(ledger, { affiliateId, at: to }));
}
