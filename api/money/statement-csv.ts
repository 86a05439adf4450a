import type { StatementDocument } from '../../ledger/books/statement-documents.ts';
import {
  balanceAt,
  listStatement,
  type StatementAmounts,
  type StatementLine,
} from '../../ledger/books/statements.ts';
import { csvCell, forPeople } from '../../ledger/payouts/providers/payment-file.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { MAX_PAGE_ROWS } from '../../ledger/postgres/page.ts';
import { formatOptionalId } from '../schemas/ids.ts';
import { formatMoney, formatTime } from '../schemas/schemas.ts';

/** A statement as CSV: what there was, every movement, what there is. */

const COLUMNS =
  'at,kind,conversion_id,order_id,payout_id,pending,available,in_transit,paid,debt,currency,destination,adjustments,note';
/** Of a monthly statement, before and behind those. */
const DOCUMENT_COLUMNS = [
  'statement,issuer,issuer_vat_id,affiliate,affiliate_vat_id',
  'payable,vat_rate,vat',
] as const;

interface StatementOptions {
  readonly affiliateId: number;
  readonly currency: string;
  readonly from: Date;
  readonly to: Date;
  /** Of a monthly one. */
  readonly document?: StatementDocument | undefined;
}

/** Every movement, page by page, so that a year of them takes no memory. */
export async function* statementLines(
  ledger: Database,
  { affiliateId, from, to }: StatementOptions,
): AsyncGenerator<readonly StatementLine[]> {
  let after: bigint | undefined;
  do {
    const page = await listStatement(ledger, { affiliateId, from, to, after, limit: MAX_PAGE_ROWS });
    yield page.rows;
    after = page.next ?? undefined;
  } while (after !== undefined);
}

/** The text, page by page. */
export async function* statementCsv(ledger: Database, options: StatementOptions): AsyncGenerator<string> {
  const { affiliateId, from, document } = options;
  // A range that reaches into the future ends now: its balance is that of this moment.
  const to = new Date(Math.min(options.to.getTime(), Date.now()));
  const [head, tail] = DOCUMENT_COLUMNS;
  yield `${document ? `${head},${COLUMNS},${tail}` : COLUMNS}\r\n`;
  yield row(options, { at: from, kind: 'opening', ...(await balanceAt(ledger, { affiliateId, at: from })) });
  for await (const lines of statementLines(ledger, { ...options, to })) {
    yield lines.map((line) => row(options, line)).join('');
  }
  yield row(options, { at: to, kind: 'closing', ...(await balanceAt(ledger, { affiliateId, at: to })) });
}

type Row = StatementAmounts & Pick<StatementLine, 'at' | 'kind'> & Partial<StatementLine>;

function row({ currency, document }: StatementOptions, line: Row): string {
  const money = (minor: bigint) => formatMoney(minor, currency).amount;
  const cells = [
    formatTime(line.at),
    line.kind,
    formatOptionalId('conversion', line.conversionId ?? null) ?? '',
    people(line.orderId),
    formatOptionalId('payout', line.payoutId ?? null) ?? '',
    ...[line.pendingMinor, line.availableMinor, line.inTransitMinor, line.paidMinor, line.debtMinor].map(
      money,
    ),
    currency,
    people(line.destinationHint),
    money(line.adjustmentsMinor),
    people(line.note),
  ];
  if (!document) return `${cells.join(',')}\r\n`;
  const { number, issuer, recipient, payableMinor, vatRate, vatMinor } = document;
  const parties = [issuer, recipient].flatMap(({ name, vatId }) => [people(name), people(vatId)]);
  const tax = line.kind === 'closing' ? [money(payableMinor), vatRate ?? '', money(vatMinor)] : ['', '', ''];
  return `${[number, ...parties, ...cells, ...tax].join(',')}\r\n`;
}

/** A cell with somebody's text. */
function people(text: string | null | undefined): string {
  return text ? csvCell(forPeople(text)) : '';
}
