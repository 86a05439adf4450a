import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import { type Font, openSync } from 'fontkit';
import PDFDocument from 'pdfkit';
import { formatAmount } from '../../core/money.ts';
import {
  monthRange,
  readOutflows,
  type StatementDocument,
  type StatementParty,
} from '../../ledger/books/statement-documents.ts';
import { balanceAt, type StatementAmounts, type StatementLine } from '../../ledger/books/statements.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { formatId } from '../schemas/ids.ts';
import { inDrawableLetters } from './drawable-letters.ts';
import { statementLines } from './statement-csv.ts';

/**
 * A monthly statement as a PDF on A4. Noto Sans (SIL Open Font License) has the Latin, Greek and Cyrillic letters of names;
 * other scripts are shown in Latin letters, with the text itself behind them, which searching, copying and reading aloud find.
 * Its bytes follow from the statement and the books, with the day of its making as the file's date.
 */

const resolve = createRequire(import.meta.url).resolve;
const FONTS = {
  regular: resolve('@expo-google-fonts/noto-sans/400Regular/NotoSans_400Regular.ttf'),
  bold: resolve('@expo-google-fonts/noto-sans/700Bold/NotoSans_700Bold.ttf'),
} as const;

/** Points: 1/72 inch. */
const MARGIN = 42;
const FOOT = 36;
const SMALL = 7.5;
const NORMAL = 9;
const GREY = '#555555';

type Document = InstanceType<typeof PDFDocument>;
type TextOptions = NonNullable<Parameters<Document['text']>[1]>;
/** Where a text is drawn; by default below the one before. */
type Place = TextOptions & { readonly x?: number; readonly y?: number };

let coverage: Font | undefined;
/** Both fonts have the same characters. */
function isDrawable(codePoint: number): boolean {
  coverage ??= openSync(FONTS.regular) as Font;
  return coverage.hasGlyphForCodePoint(codePoint);
}

/** A text as it is drawn. */
function legible(text: string): string {
  return inDrawableLetters(text, isDrawable);
}

/** Documents with a text in other letters than its own. */
const transliterated = new WeakSet<Document>();

/** Draws a text that people have written. */
function drawText(pdf: Document, text: string, { x, y, ...options }: Place = {}): void {
  const shown = legible(text);
  if (shown !== text) {
    transliterated.add(pdf);
    pdf.markContent('Span', { actual: text });
  }
  pdf.text(shown, x, y, options);
  if (shown !== text) pdf.endMarkedContent();
}

/** The PDF, sent while it is made. */
export function statementPdf(ledger: Database, statement: StatementDocument): Readable {
  const pdf: Document = new PDFDocument({
    size: 'A4',
    margins: { top: MARGIN, left: MARGIN, right: MARGIN, bottom: MARGIN + FOOT },
    lang: 'en',
    info: {
      Title: `${titleOf(statement)} ${statement.number}`,
      Author: statement.issuer.name,
      CreationDate: statement.issuedAt,
    },
  });
  pdf.registerFont('regular', FONTS.regular);
  pdf.registerFont('bold', FONTS.bold);
  render(pdf, ledger, statement).then(
    () => pdf.end(),
    (error: unknown) => pdf.destroy(error instanceof Error ? error : new Error('the statement failed')),
  );
  return pdf as unknown as Readable;
}

function titleOf({ vat }: StatementDocument): string {
  return vat === 'none' ? 'Statement' : 'Self-billing invoice';
}

async function render(pdf: Document, ledger: Database, statement: StatementDocument): Promise<void> {
  const { affiliateId, currency } = statement;
  const { from, to } = monthRange(statement.month);
  const opening = await balanceAt(ledger, { affiliateId, at: from });
  const closing = await balanceAt(ledger, { affiliateId, at: to });
  let page = 0;
  const addFoot = () => {
    page += 1;
    drawFoot(pdf, `${titleOf(statement)} ${statement.number} · page ${page}`);
  };
  addFoot();
  pdf.on('pageAdded', addFoot);
  drawHead(pdf, statement);
  drawSummary(pdf, statement, { opening, closing, ...(await readOutflows(ledger, statement)) });
  drawRow(pdf, HEADINGS, { bold: true });
  const money = (minor: bigint) => (minor === 0n ? '–' : formatAmount(minor, currency));
  const amounts = (sums: StatementAmounts) =>
    [
      sums.pendingMinor,
      sums.availableMinor,
      sums.inTransitMinor,
      sums.paidMinor,
      sums.debtMinor,
      sums.adjustmentsMinor,
    ].map(money);
  drawRow(pdf, [dayOf(from), 'Opening balance', '', ...amounts(opening)], { bold: true });
  for await (const lines of statementLines(ledger, { affiliateId, currency, from, to })) {
    for (const line of lines) drawRow(pdf, [dayOf(line.at), words(line.kind), about(line), ...amounts(line)]);
  }
  const lastDay = new Date(to.getTime() - 1);
  drawRow(pdf, [dayOf(lastDay), 'Closing balance', '', ...amounts(closing)], { bold: true });
  if (transliterated.has(pdf)) drawNote(pdf);
}

function drawNote(pdf: Document): void {
  pdf
    .font('regular')
    .fontSize(SMALL)
    .fillColor(GREY)
    .text(
      'Texts in other scripts are shown in Latin letters. Copied, searched or read aloud they are as they were written.',
      MARGIN,
      pdf.y + 6,
      { width: widthOf(pdf) },
    )
    .fillColor('black');
}

function drawFoot(pdf: Document, text: string): void {
  const { x, y } = pdf;
  const bottom = pdf.page.margins.bottom;
  // Text below the margin would begin another page.
  pdf.page.margins.bottom = 0;
  pdf
    .font('regular')
    .fontSize(SMALL)
    .fillColor(GREY)
    .text(text, MARGIN, pdf.page.height - MARGIN, { width: widthOf(pdf), align: 'right', lineBreak: false });
  pdf.page.margins.bottom = bottom;
  pdf.fillColor('black');
  pdf.x = x;
  pdf.y = y;
}

const widthOf = (pdf: Document): number => pdf.page.width - 2 * MARGIN;

function drawHead(pdf: Document, statement: StatementDocument): void {
  const { issuer, recipient, number, month, issuedAt } = statement;
  pdf.font('bold').fontSize(18).text(titleOf(statement), MARGIN, MARGIN);
  pdf
    .font('regular')
    .fontSize(NORMAL)
    .fillColor(GREY)
    .text(`No. ${number} · ${monthName(month)} · issued ${dayOf(issuedAt)} · times in UTC`)
    .fillColor('black');
  const top = pdf.y + 16;
  const column = widthOf(pdf) / 2 - 10;
  drawParty(pdf, { title: 'Program', party: issuer, x: MARGIN, y: top, width: column });
  const leftEnd = pdf.y;
  const affiliate = `Affiliate ${formatId('affiliate', statement.affiliateId)}`;
  drawParty(pdf, { title: affiliate, party: recipient, x: MARGIN + column + 20, y: top, width: column });
  pdf.y = Math.max(leftEnd, pdf.y) + 16;
  pdf.x = MARGIN;
}

function drawParty(
  pdf: Document,
  {
    title,
    party,
    x,
    y,
    width,
  }: { title: string; party: StatementParty; x: number; y: number; width: number },
): void {
  const country = party.country === null ? [] : [countryName(party.country)];
  const vatId = party.vatId === null ? [] : [`VAT number ${party.vatId}`];
  pdf.font('regular').fontSize(SMALL).fillColor(GREY).text(title, x, y, { width }).fillColor('black');
  drawText(pdf.font('bold').fontSize(NORMAL), party.name, { width });
  pdf.font('regular');
  for (const line of [...party.address, ...country, ...vatId]) drawText(pdf, line, { width });
}

interface Change {
  readonly opening: StatementAmounts;
  readonly closing: StatementAmounts;
  readonly paidMinor: bigint;
  readonly writtenOffMinor: bigint;
}

/** What became payable, with the tax in it, and what was paid, from what was payable before to what is after: a sum. */
function drawSummary(
  pdf: Document,
  statement: StatementDocument,
  { opening, closing, paidMinor, writtenOffMinor }: Change,
): void {
  const { currency, payableMinor, vat, vatRate, vatMinor } = statement;
  const money = (minor: bigint) => `${formatAmount(minor, currency)} ${currency}`;
  const sum = (sums: StatementAmounts) =>
    sums.availableMinor + sums.inTransitMinor + sums.debtMinor + sums.adjustmentsMinor;
  const tax: [string, string][] =
    vat === 'domestic'
      ? [
          ['    of which net', money(payableMinor - vatMinor)],
          [`    of which VAT, ${Number(vatRate)} %`, money(vatMinor)],
        ]
      : [];
  const givenUp: [string, string][] =
    writtenOffMinor === 0n ? [] : [['Debt that was given up', money(writtenOffMinor)]];
  const rows: [string, string][] = [
    ['Payable and not paid at the beginning', money(sum(opening))],
    ['Became payable in the month, less what was taken back', money(payableMinor)],
    ...tax,
    ...givenUp,
    ['Paid in the month, less what came back', money(-paidMinor)],
    ['Payable and not paid at the end', money(sum(closing))],
  ];
  for (const [label, amount] of rows) {
    const { y } = pdf;
    pdf.font('regular').fontSize(NORMAL).text(label, MARGIN, y, { width: 350 });
    pdf.text(amount, MARGIN + 360, y, { width: widthOf(pdf) - 360, align: 'right' });
  }
  pdf.x = MARGIN;
  if (vat === 'reverse_charge') {
    pdf
      .moveDown(0.5)
      .text('Reverse charge: the recipient of the services owes the VAT. No VAT is in these amounts.');
  }
  if (vat !== 'none')
    pdf.moveDown(0.5).text('Issued by the program in the name and on behalf of the affiliate.');
  pdf.moveDown(1.5);
}

const HEADINGS = [
  'Day',
  'Movement',
  'Order, payout or note',
  'Pending',
  'Available',
  'In transit',
  'Paid',
  'Debt',
  'Adjusted',
];
/** Shares of the width: texts to the left, amounts to the right. */
const WIDTHS = [0.09, 0.14, 0.2, 0.095, 0.095, 0.095, 0.095, 0.095, 0.095];
const TEXT_COLUMNS = 3;
const CELL_GAP = 4;

/** A row of the table; its head again at the top of each page. */
function drawRow(pdf: Document, cells: readonly string[], { bold = false } = {}): void {
  pdf.font(bold ? 'bold' : 'regular').fontSize(SMALL);
  const whole = widthOf(pdf);
  const widths = WIDTHS.map((share) => share * whole - CELL_GAP);
  const height = Math.max(
    ...cells.map((cell, i) => pdf.heightOfString(legible(cell), { width: widths[i] ?? 0 })),
  );
  if (pdf.y + height + 4 > pdf.page.height - pdf.page.margins.bottom) {
    pdf.addPage();
    if (cells !== HEADINGS) drawRow(pdf, HEADINGS, { bold: true });
    pdf.font(bold ? 'bold' : 'regular').fontSize(SMALL);
  }
  const { y } = pdf;
  let x = MARGIN;
  for (const [i, cell] of cells.entries()) {
    const isText = i < TEXT_COLUMNS;
    drawText(pdf, cell, { x, y, width: widths[i] ?? 0, align: isText ? 'left' : 'right' });
    x += (WIDTHS[i] ?? 0) * whole;
  }
  pdf.x = MARGIN;
  pdf.y = y + height + 4;
  pdf
    .moveTo(MARGIN, pdf.y - 2)
    .lineTo(MARGIN + whole, pdf.y - 2)
    .lineWidth(0.3)
    .strokeColor('#cccccc')
    .stroke();
}

function about({ orderId, conversionId, payoutId, destinationHint, note }: StatementLine): string {
  const order = orderId ?? (conversionId === null ? undefined : formatId('conversion', conversionId));
  if (order !== undefined) return order;
  if (payoutId === null) return note ?? '';
  return [formatId('payout', payoutId), destinationHint].filter(Boolean).join(' to ');
}

function words(kind: string): string {
  const text = kind.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const dayOf = (at: Date): string => at.toISOString().slice(0, 10);

function monthName(month: string): string {
  const { from } = monthRange(month);
  return new Intl.DateTimeFormat('en', { month: 'long', year: 'numeric', timeZone: 'UTC' }).format(from);
}

function countryName(code: string): string {
  return new Intl.DisplayNames('en', { type: 'region' }).of(code) ?? code;
}
