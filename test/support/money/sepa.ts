import { SaxesParser } from 'saxes';

/**
 * Reads and checks SEPA credit transfers apart from the code that writes them: another parser, and the rules of the
 * European Payments Council's customer-to-bank guidelines (EPC132-08, for pain.001.001.09) written out again.
 */

/** An element: its path from the document, its attributes, its own text. */
interface Element {
  readonly path: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
}

function readElements(xml: string): Element[] {
  const elements: Element[] = [];
  const open: { name: string; attributes: Record<string, string>; text: string; at: number }[] = [];
  const parser = new SaxesParser({ xmlns: false });
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('doctype', () => {
    throw new Error('a document type');
  });
  parser.on('opentag', ({ name, attributes }) => {
    open.push({ name, attributes: attributes as Record<string, string>, text: '', at: elements.length });
    elements.push({ path: open.map((one) => one.name).join('/'), attributes: {}, text: '' });
  });
  parser.on('text', (text) => {
    const last = open.at(-1);
    if (last) last.text += text;
  });
  parser.on('closetag', () => {
    const path = open.map((one) => one.name).join('/');
    const closed = open.pop();
    if (closed) elements[closed.at] = { path, attributes: closed.attributes, text: closed.text.trim() };
  });
  parser.write(xml).close();
  return elements;
}

const ROOT = 'Document/CstmrCdtTrfInitn';
const PAYMENT = `${ROOT}/PmtInf`;
const TRANSFER = `${PAYMENT}/CdtTrfTxInf`;

/** The elements that the scheme wants in this order, by their parents; `?`: optional. */
const ORDER: Readonly<Record<string, string>> = {
  [ROOT]: 'GrpHdr PmtInf',
  [`${ROOT}/GrpHdr`]: 'MsgId CreDtTm NbOfTxs CtrlSum InitgPty',
  [PAYMENT]:
    'PmtInfId PmtMtd BtchBookg NbOfTxs CtrlSum PmtTpInf ReqdExctnDt Dbtr DbtrAcct DbtrAgt ChrgBr CdtTrfTxInf',
  [TRANSFER]: 'PmtId Amt Cdtr CdtrAcct RmtInf',
  [`${TRANSFER}/PmtId`]: 'InstrId EndToEndId',
};

const CHARACTERS = /^[A-Za-z0-9/\-?:().,'+ ]+$/;
/** Of identifications: no slash at an end, no two in a row. */
const IDENTIFICATION = /^(?!\/)(?!.*\/\/)[A-Za-z0-9/\-?:().,'+ ]{1,35}(?<!\/)$/;

export interface ReadTransfer {
  readonly endToEndId: string;
  readonly amountCents: number;
  readonly name: string;
  readonly iban: string;
  readonly reference: string;
}

export interface ReadFile {
  readonly messageId: string;
  readonly debtor: string;
  readonly debtorIban: string;
  readonly debtorAgent: string;
  readonly date: string;
  readonly transfers: readonly ReadTransfer[];
  /** What breaks a rule of the scheme; empty: nothing. */
  readonly faults: readonly string[];
}

export function readCreditTransfers(xml: string): ReadFile {
  const elements = readElements(xml);
  const faults: string[] = [];
  const check = (holds: boolean, fault: string) => {
    if (!holds) faults.push(fault);
  };
  const textsOf = (path: string) => elements.filter((one) => one.path === path).map(({ text }) => text);
  const textOf = (path: string) => {
    const texts = textsOf(path);
    check(texts.length === 1, `${path} is there ${texts.length} times`);
    return texts[0] ?? '';
  };
  const namespace = elements[0]?.attributes.xmlns;
  check(namespace === 'urn:iso:std:iso:20022:tech:xsd:pain.001.001.09', `namespace ${namespace}`);
  for (const [parent, order] of Object.entries(ORDER)) checkOrder(elements, parent, order.split(' '), check);
  for (const { path, text } of elements) {
    const isLeaf = !elements.some((other) => other.path.startsWith(`${path}/`));
    if (isLeaf) check(text === '' || CHARACTERS.test(text), `${path}: characters of ${text}`);
  }
  const transfers = splitTransfers(elements).map((parts): ReadTransfer => {
    const part = (path: string) => parts.find((one) => one.path === `${TRANSFER}/${path}`);
    const amount = part('Amt/InstdAmt');
    check(amount?.attributes.Ccy === 'EUR', 'the currency of a transfer');
    check(
      /^\d{1,9}\.\d{2}$/.test(amount?.text ?? '') && Number(amount?.text) >= 0.01,
      `amount ${amount?.text}`,
    );
    const endToEndId = part('PmtId/EndToEndId')?.text ?? '';
    check(IDENTIFICATION.test(endToEndId), `EndToEndId ${endToEndId}`);
    const name = part('Cdtr/Nm')?.text ?? '';
    check(name.length >= 1 && name.length <= 70, `name ${name}`);
    const iban = part('CdtrAcct/Id/IBAN')?.text ?? '';
    check(restOf97(iban.slice(4) + iban.slice(0, 4)) === 1, `IBAN ${iban}`);
    const reference = part('RmtInf/Strd/CdtrRefInf/Ref')?.text ?? '';
    check(part('RmtInf/Strd/CdtrRefInf/Tp/CdOrPrtry/Cd')?.text === 'SCOR', 'the kind of the reference');
    check(
      /^RF\d{2}[A-Z0-9]{1,21}$/.test(reference) && restOf97(reference.slice(4) + reference.slice(0, 4)) === 1,
      `reference ${reference}`,
    );
    return { endToEndId, amountCents: Math.round(Number(amount?.text) * 100), name, iban, reference };
  });
  const ids = transfers.map(({ endToEndId }) => endToEndId);
  check(new Set(ids).size === ids.length, 'end-to-end ids are distinct');
  const sum = transfers.reduce((total, { amountCents }) => total + amountCents, 0);
  for (const head of [`${ROOT}/GrpHdr`, PAYMENT]) {
    check(textOf(`${head}/NbOfTxs`) === String(transfers.length), `${head}/NbOfTxs`);
    check(Math.round(Number(textOf(`${head}/CtrlSum`)) * 100) === sum, `${head}/CtrlSum`);
  }
  const messageId = textOf(`${ROOT}/GrpHdr/MsgId`);
  for (const id of [messageId, textOf(`${PAYMENT}/PmtInfId`)]) check(IDENTIFICATION.test(id), `id ${id}`);
  check(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?$/.test(textOf(`${ROOT}/GrpHdr/CreDtTm`)), 'CreDtTm');
  check(textOf(`${PAYMENT}/PmtMtd`) === 'TRF', 'PmtMtd');
  check(textOf(`${PAYMENT}/PmtTpInf/SvcLvl/Cd`) === 'SEPA', 'SvcLvl');
  check(textOf(`${PAYMENT}/ChrgBr`) === 'SLEV', 'ChrgBr');
  const agent = textsOf(`${PAYMENT}/DbtrAgt/FinInstnId/BICFI`)[0];
  return {
    messageId,
    debtor: textOf(`${PAYMENT}/Dbtr/Nm`),
    debtorIban: textOf(`${PAYMENT}/DbtrAcct/Id/IBAN`),
    debtorAgent: agent ?? textOf(`${PAYMENT}/DbtrAgt/FinInstnId/Othr/Id`),
    date: textOf(`${PAYMENT}/ReqdExctnDt/Dt`),
    transfers,
    faults,
  };
}

/** Each transfer's own elements. */
function splitTransfers(elements: readonly Element[]): Element[][] {
  const starts = elements.flatMap(({ path }, i) => (path === TRANSFER ? [i] : []));
  return starts.map((start, i) => elements.slice(start, starts[i + 1]));
}

function checkOrder(
  elements: readonly Element[],
  parent: string,
  order: readonly string[],
  check: (holds: boolean, fault: string) => void,
): void {
  const children = elements.filter(({ path }) => path.slice(0, path.lastIndexOf('/')) === parent);
  let last = 0;
  for (const { path } of children) {
    const place = order.indexOf(path.slice(parent.length + 1));
    check(place >= 0, `${path} is not expected`);
    // Each further transfer begins its children again.
    if (parent.startsWith(TRANSFER) && place === 0) last = 0;
    check(place >= last, `${path} comes too late`);
    last = place;
  }
}

function restOf97(text: string): number {
  let rest = 0;
  for (const character of text) {
    const value = Number.parseInt(character, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest;
}
