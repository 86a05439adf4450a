import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { InputError } from '../../core/errors.ts';
import { parseAmount } from '../../core/money.ts';
import type { NoticeStatus } from '../../ledger/payouts/notices.ts';
import type { PaymentResult } from '../../ledger/payouts/results.ts';
import type { ResultRow } from './payment-results.ts';
import { isDuplicate, ofWholeMessage, reasonOf } from './sepa-reasons.ts';

/**
 * The answers of a bank to SEPA credit transfers, in any version of ISO 20022's messages: pain.002 (what became of the
 * transfers) and camt.054 (what was booked: a debit was paid, a credit under our reference has come back).
 */
export interface SepaResults {
  readonly rows: readonly ResultRow[];
  /** Messages that were refused whole: the rows may say of some transfers why, the others are refused with them. */
  readonly refusedMessages: readonly RefusedMessage[];
}

export interface RefusedMessage {
  readonly line: number;
  readonly messageId: string;
  readonly result: Omit<PaymentResult, 'providerKey'>;
}

/** Elements that may come once or more. */
const LISTS = new Set([
  'OrgnlPmtInfAndSts',
  'TxInfAndSts',
  'StsRsnInf',
  'Ntfctn',
  'Ntry',
  'NtryDtls',
  'TxDtls',
  'AddtlInf',
]);

/** Depth of the deepest element that is read is 9; names of parties and addresses are deeper. */
const MAX_DEPTH = 40;

const parser = new XMLParser({
  ignoreAttributes: false,
  removeNSPrefix: true,
  parseTagValue: false,
  parseAttributeValue: false,
  maxNestedTags: MAX_DEPTH,
  // Characters by their numbers.
  htmlEntities: true,
  isArray: (name) => LISTS.has(name),
});

/**
 * Reads a pain.002 or a camt.054. Entities of its own are refused, so that nothing in it can grow or point elsewhere.
 * @throws InputError `body`.
 */
export function readSepaResults(xml: string): SepaResults {
  const document = parseXml(xml);
  const report = at(document, 'Document', 'CstmrPmtStsRpt');
  if (report) return readStatusReport(report);
  const notification = at(document, 'Document', 'BkToCstmrDbtCdtNtfctn');
  if (notification) return { rows: readNotification(notification), refusedMessages: [] };
  throw new InputError('body', 'must be a pain.002 (CstmrPmtStsRpt) or a camt.054 (BkToCstmrDbtCdtNtfctn)');
}

function parseXml(xml: string): Node {
  if (/<!(?:DOCTYPE|ENTITY)/i.test(xml)) {
    throw new InputError('body', 'must have no document type and no entities of its own');
  }
  // XML has no such character, PostgreSQL takes none, and the parser lets it pass.
  if (xml.includes('\0')) throw new InputError('body', 'must have no NUL characters');
  const valid = XMLValidator.validate(xml);
  if (valid !== true) {
    throw new InputError('body', `is not well-formed XML: line ${valid.err.line}, ${valid.err.msg}`);
  }
  try {
    return parser.parse(xml) as Node;
  } catch (error) {
    throw new InputError('body', `cannot be read: ${error instanceof Error ? error.message : 'not XML'}`);
  }
}

/** An element: its children by name, lists of them, or its text. */
type Node = { readonly [name: string]: Node | readonly Node[] | string } | string;

function at(node: Node | undefined, ...path: readonly string[]): Node | undefined {
  let found: Node | undefined = node;
  for (const name of path) {
    const child = typeof found === 'object' && Object.hasOwn(found, name) ? found[name] : undefined;
    found = (Array.isArray(child) ? child[0] : child) as Node | undefined;
  }
  return found;
}

function listAt(node: Node | undefined, name: string): readonly Node[] {
  const child = typeof node === 'object' && Object.hasOwn(node, name) ? node[name] : undefined;
  return child === undefined ? [] : ([child].flat() as Node[]);
}

/** The text of an element, with or without attributes. */
function textAt(node: Node | undefined, ...path: readonly string[]): string | undefined {
  const found = at(node, ...path);
  const text = typeof found === 'object' ? at(found, '#text') : found;
  return typeof text === 'string' && text.trim() !== '' ? text.trim() : undefined;
}

/** The first amount of these paths, with its currency. @throws InputError */
function amountAt(
  node: Node,
  paths: readonly (readonly string[])[],
): Pick<PaymentResult, 'amountMinor' | 'currency'> {
  for (const path of paths) {
    const amount = textAt(node, ...path);
    const currency = textAt(node, ...path, '@_Ccy');
    if (amount !== undefined && currency !== undefined) {
      return { amountMinor: parseAmount(withoutZeros(amount, currency), currency), currency };
    }
  }
  return {};
}

/** Banks may write up to five decimals; zeros behind the currency's own say nothing. */
function withoutZeros(amount: string, currency: string): string {
  return currency === 'EUR' ? amount.replace(/^(\d+\.\d{2})0+$/, '$1') : amount;
}

/** What a transfer's status says, by ISO 20022's ExternalPaymentTransactionStatus1Code. */
const STATUSES: Readonly<Record<string, NoticeStatus | 'open'>> = {
  RJCT: 'failed',
  CANC: 'failed',
  /** Settled on the account of who pays, or of who is paid. */
  ACSC: 'paid',
  ACCC: 'paid',
  ACCP: 'open',
  ACSP: 'open',
  ACTC: 'open',
  ACWC: 'open',
  ACFC: 'open',
  ACWP: 'open',
  RCVD: 'open',
  PDNG: 'open',
  PATC: 'open',
  PART: 'open',
};

function readStatusReport(report: Node): SepaResults {
  const group = at(report, 'OrgnlGrpInfAndSts');
  const payments = listAt(report, 'OrgnlPmtInfAndSts');
  const messageId = textAt(group, 'OrgnlMsgId') ?? '';
  const transfers = payments.flatMap((payment) =>
    listAt(payment, 'TxInfAndSts').map((transfer) => ({
      transfer,
      own: textAt(transfer, 'TxSts'),
      // A transfer without a status has that of what it is in.
      ofMessage: textAt(payment, 'PmtInfSts') ?? textAt(group, 'GrpSts'),
    })),
  );
  const rows = transfers.map(({ transfer, own, ofMessage }, i): ResultRow => {
    const paymentKey = textAt(transfer, 'OrgnlEndToEndId') ?? '';
    const result = read(() => transferResult(paymentKey, transfer, own ?? ofMessage));
    return { line: i + 1, paymentKey, result, ...(own === undefined && { byMessage: messageId }) };
  });
  const refusing = [
    { node: group, status: textAt(group, 'GrpSts') },
    ...payments.map((payment) => ({ node: payment, status: textAt(payment, 'PmtInfSts') })),
  ].filter(({ status }) => status === 'RJCT');
  const refusal = refusing.find(({ node }) => listAt(node, 'StsRsnInf').length > 0) ?? refusing[0];
  if (refusal === undefined) {
    if (rows.length === 0) rows.push({ line: 1, paymentKey: messageId, result: 'open' });
    return { rows, refusedMessages: [] };
  }
  const line = rows.length + 1;
  const result = read(() => ofWholeMessage(failedBy(refusal.node)));
  if (result instanceof InputError) {
    return { rows: [...rows, { line, paymentKey: messageId, result }], refusedMessages: [] };
  }
  return { rows, refusedMessages: [{ line, messageId, result }] };
}

function transferResult(providerKey: string, transfer: Node, code: string | undefined): ResultRow['result'] {
  if (providerKey === '') return new InputError('OrgnlEndToEndId', 'is required');
  const status = STATUSES[code ?? ''];
  if (status === undefined) {
    return new InputError('TxSts', `must be one of ${Object.keys(STATUSES).join(', ')}`);
  }
  if (status === 'open') return 'open';
  const amount = amountAt(transfer, [['OrgnlTxRef', 'Amt', 'InstdAmt']]);
  const result = status === 'failed' ? failedBy(transfer) : { status, accountRefused: false };
  return { providerKey, ...result, ...amount };
}

/** Why something failed, by its first reason. @throws InputError: it is a duplicate, and the first one may be paid. */
function failedBy(node: Node | undefined): Omit<PaymentResult, 'providerKey'> {
  const [information] = listAt(node, 'StsRsnInf');
  const code = textAt(information, 'Rsn', 'Cd') ?? textAt(information, 'Rsn', 'Prtry');
  if (isDuplicate(code)) {
    throw new InputError(
      'StsRsnInf',
      `${code}: the bank has it already, and says of the first one what became of it`,
    );
  }
  return { status: 'failed', ...reasonOf(code, textAt(information, 'AddtlInf')) };
}

function readNotification(notification: Node): ResultRow[] {
  const entries = listAt(notification, 'Ntfctn').flatMap((one) => listAt(one, 'Ntry'));
  const transactions = entries.flatMap((entry) => {
    const details = listAt(entry, 'NtryDtls').flatMap((one) => listAt(one, 'TxDtls'));
    // An entry of one transaction may have its references in no details of its own, and its amount in none.
    const isAlone = details.length <= 1;
    return (details.length === 0 ? [entry] : details).map((transaction) => ({ entry, transaction, isAlone }));
  });
  const referenceOf = bookingReferences(textAt(notification, 'GrpHdr', 'MsgId'));
  return transactions.map((booked, i) => {
    const paymentKey = textAt(booked.transaction, 'Refs', 'EndToEndId') ?? '';
    const result = read(() => bookedResult(paymentKey, { ...booked, referenceOf }));
    return { line: i + 1, paymentKey, result };
  });
}

/** An entry, and its transaction: the entry itself where it has no details. */
interface Booked {
  readonly entry: Node;
  readonly transaction: Node;
  readonly isAlone: boolean;
}

/** ISO 20022's Max35Text, with room for banks that write more. */
const MAX_BANK_REFERENCE_LENGTH = 140;

/**
 * By what the same booking is known in another file: the bank's own reference of the transaction, or of the entry, from the
 * second of the payment in it with a number. Where the bank gives none, the day with a number among those in the message,
 * and the message: a second debit of that day in another message must not pass for the first one, because its return would
 * then pass for that of the payment, which would be paid again.
 */
function bookingReferences(
  messageId: string | undefined,
): (providerKey: string, direction: string, booked: Booked) => string {
  const counts = new Map<unknown, Map<string, number>>();
  return (providerKey, direction, { entry, transaction }) => {
    const own = textAt(transaction, 'Refs', 'AcctSvcrRef');
    const ofEntry = textAt(entry, 'AcctSvcrRef');
    const day = textAt(entry, 'BookgDt', 'Dt') ?? textAt(entry, 'BookgDt', 'DtTm')?.slice(0, 10) ?? 'no day';
    const ofDay = messageId === undefined ? day : `${day} of ${messageId}`;
    const reference = own ?? ofEntry ?? ofDay;
    if (reference.length > MAX_BANK_REFERENCE_LENGTH) {
      throw new InputError('AcctSvcrRef', `must not exceed ${MAX_BANK_REFERENCE_LENGTH} characters`);
    }
    if (own !== undefined) return own;
    const within = ofEntry === undefined ? 'the file' : entry;
    const counted = counts.get(within) ?? new Map<string, number>();
    counts.set(within, counted);
    const key = JSON.stringify([providerKey, direction, reference]);
    const number = (counted.get(key) ?? 0) + 1;
    counted.set(key, number);
    return ofEntry !== undefined && number === 1 ? ofEntry : `${reference} #${number}`;
  };
}

function bookedResult(
  providerKey: string,
  { referenceOf, ...booked }: Booked & { referenceOf: ReturnType<typeof bookingReferences> },
): ResultRow['result'] {
  const { entry, transaction, isAlone } = booked;
  if (providerKey === '') return new InputError('EndToEndId', 'is required: the entry names no payment');
  // Up to version 4 the status is the element's text, later a code within it.
  const status = textAt(entry, 'Sts', 'Cd') ?? textAt(entry, 'Sts');
  if (status !== 'BOOK') return 'open';
  const ofTransaction = amountAt(transaction, [
    ['Amt'],
    ['AmtDtls', 'TxAmt', 'Amt'],
    ['AmtDtls', 'InstdAmt', 'Amt'],
  ]);
  const amount =
    ofTransaction.amountMinor === undefined && isAlone ? amountAt(entry, [['Amt']]) : ofTransaction;
  const direction = textAt(transaction, 'CdtDbtInd') ?? textAt(entry, 'CdtDbtInd');
  if (direction === 'DBIT') {
    const booking = { direction: 'debit', reference: referenceOf(providerKey, direction, booked) } as const;
    return { providerKey, status: 'paid', accountRefused: false, ...amount, booking };
  }
  if (direction !== 'CRDT') return new InputError('CdtDbtInd', 'must be DBIT or CRDT');
  // Who was paid knows the reference, and could send a cent under it.
  if (amount.amountMinor === undefined) return new InputError('Amt', 'is required of what has come back');
  const code = textAt(transaction, 'RtrInf', 'Rsn', 'Cd') ?? textAt(transaction, 'RtrInf', 'Rsn', 'Prtry');
  const words = textAt(transaction, 'RtrInf', 'AddtlInf');
  const booking = { direction: 'credit', reference: referenceOf(providerKey, direction, booked) } as const;
  return { providerKey, status: 'returned', ...reasonOf(code, words), ...amount, booking };
}

/** A row's fault instead of the file's. */
function read<Result>(result: () => Result): Result | InputError {
  try {
    return result();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}
