import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import anyAscii from 'any-ascii';
import { XMLBuilder } from 'fast-xml-parser';
import { OperatingError } from '../../../core/errors.ts';
import { formatAmount } from '../../../core/money.ts';
import { creditorReference, isIban, normalIban } from '../iban.ts';
import type {
  PaymentAnswer,
  PaymentBatch,
  PaymentOrder,
  PayoutProvider,
  ProviderLimits,
} from '../provider.ts';
import { createFileProvider } from './payment-file.ts';

/**
 * SEPA credit transfers as pain.001.001.09 of ISO 20022, one file a batch, by the customer-to-bank guidelines of the
 * European Payments Council (EPC132-08): euros, IBANs of SEPA, 0.01 to 999,999,999.99 a transfer, an end-to-end reference
 * of 35 characters.
 */
const SEPA_LIMITS: ProviderLimits = {
  methodKind: 'bank',
  digits: new Map([['EUR', 2]]),
  largest: new Map([['EUR', '999999999.99']]),
  referenceLength: 35,
};

/** Characters of a name (EPC132-08, AT-21), and of the message's and the payment's identification. */
const MAX_SEPA_NAME_LENGTH = 70;
const MAX_ID_LENGTH = 35;

/** Countries whose IBANs SEPA reaches (EPC409-09). */
const SEPA_COUNTRIES = new Set(
  'AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GI GR HR HU IE IS IT LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS SE SI SK SM VA'.split(
    ' ',
  ),
);

/** Who pays. */
export interface SepaDebtor {
  readonly name: string;
  readonly iban: string;
  /** Empty: the bank knows it by the IBAN. */
  readonly bic: string;
}

/** Every payment as a credit transfer, for the bank. @throws OperatingError `invalid_config`. */
export function createSepaProvider(options: { folder: string; debtor: SepaDebtor }): PayoutProvider {
  const debtor = checkDebtor(options.debtor);
  const files = createFileProvider({
    folder: options.folder,
    format: {
      name: 'sepa_xml',
      limits: SEPA_LIMITS,
      extension: 'xml',
      render: (batch, referenceOf) => renderCreditTransfers(batch, { debtor, referenceOf }),
      quote: (key) => `<EndToEndId>${key}</EndToEndId>`,
    },
  });
  return {
    ...files,
    async submit(batch) {
      const refusals = batch.orders.flatMap((order): [string, PaymentAnswer][] => {
        const reason = whyNotPayable(order);
        return reason === undefined ? [] : [[order.providerKey, { outcome: 'refused', reason }]];
      });
      const refused = new Map(refusals);
      const orders = batch.orders.filter(({ providerKey }) => !refused.has(providerKey));
      const accepted = orders.length === 0 ? [] : await files.submit({ ...batch, orders });
      return new Map([...refused, ...accepted]);
    },
  };
}

function checkDebtor({ name, iban, bic }: SepaDebtor): SepaDebtor {
  const debtor = { name: sepaText(name), iban: normalIban(iban), bic: bic.trim().toUpperCase() };
  const fault =
    (debtor.name === '' && 'SEPA_DEBTOR_NAME must name the account holder') ||
    (!isIban(debtor.iban) && 'SEPA_DEBTOR_IBAN must be an IBAN') ||
    (debtor.bic !== '' &&
      !/^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$/.test(debtor.bic) &&
      'SEPA_DEBTOR_BIC must be a BIC of 8 or 11 characters');
  if (fault) throw new OperatingError('invalid_config', `PAYOUT_PROVIDER=sepa_xml: ${fault}`);
  return debtor;
}

function whyNotPayable({ payoutAccount, accountHolder }: PaymentOrder): string | undefined {
  if (payoutAccount === null || !isIban(payoutAccount)) return 'the account is no IBAN';
  if (!SEPA_COUNTRIES.has(payoutAccount.slice(0, 2))) return 'the account is outside SEPA';
  return sepaText(accountHolder ?? '') === ''
    ? 'the account has no holder whom a bank could read'
    : undefined;
}

/**
 * A text in the characters that every bank of SEPA takes (EPC217-08): letters, digits and `/-?:().,'+`. Others are
 * transliterated: "Zoë Ünal & Søn" is "Zoe Unal + Son".
 */
export function sepaText(text: string): string {
  return anyAscii(text.normalize('NFC'))
    .replaceAll('&', '+')
    .replaceAll(/[^A-Za-z0-9/\-?:().,'+ ]/g, ' ')
    .replaceAll(/ +/g, ' ')
    .trim()
    .slice(0, MAX_SEPA_NAME_LENGTH)
    .trim();
}

const builder = new XMLBuilder({ ignoreAttributes: false, format: true, suppressEmptyNode: false });

function renderCreditTransfers(
  { batchKey, handedOverAt, orders }: PaymentBatch,
  { debtor, referenceOf }: { debtor: SepaDebtor; referenceOf: (order: PaymentOrder) => string },
): string {
  const messageId = sepaMessageId(batchKey);
  const total = orders.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
  const sums = { NbOfTxs: String(orders.length), CtrlSum: formatAmount(total, 'EUR') };
  const { bic } = debtor;
  return builder.build({
    '?xml': { '@_version': '1.0', '@_encoding': 'UTF-8' },
    Document: {
      '@_xmlns': 'urn:iso:std:iso:20022:tech:xsd:pain.001.001.09',
      CstmrCdtTrfInitn: {
        GrpHdr: {
          MsgId: messageId,
          CreDtTm: `${handedOverAt.toISOString().slice(0, 19)}Z`,
          ...sums,
          InitgPty: { Nm: debtor.name },
        },
        PmtInf: {
          PmtInfId: messageId,
          PmtMtd: 'TRF',
          BtchBookg: 'true',
          ...sums,
          PmtTpInf: { SvcLvl: { Cd: 'SEPA' } },
          ReqdExctnDt: { Dt: handedOverAt.toISOString().slice(0, 10) },
          Dbtr: { Nm: debtor.name },
          DbtrAcct: { Id: { IBAN: debtor.iban }, Ccy: 'EUR' },
          DbtrAgt: { FinInstnId: bic === '' ? { Othr: { Id: 'NOTPROVIDED' } } : { BICFI: bic } },
          ChrgBr: 'SLEV',
          CdtTrfTxInf: orders.map((order) => creditTransfer(order, referenceOf(order))),
        },
      },
    },
  });
}

function creditTransfer(order: PaymentOrder, reference: string): object {
  return {
    PmtId: { InstrId: reference, EndToEndId: reference },
    Amt: { InstdAmt: { '@_Ccy': 'EUR', '#text': formatAmount(order.amountMinor, 'EUR') } },
    Cdtr: { Nm: sepaText(order.accountHolder ?? '') },
    CdtrAcct: { Id: { IBAN: order.payoutAccount } },
    RmtInf: {
      Strd: {
        CdtrRefInf: {
          Tp: { CdOrPrtry: { Cd: 'SCOR' }, Issr: 'ISO' },
          Ref: creditorReference(`PAY${order.payoutId}`),
        },
      },
    },
  };
}

/** The identification of a batch's message: its key without what SEPA does not take, or a hash where that is too long. */
function sepaMessageId(batchKey: string): string {
  const plain = batchKey.replaceAll(/[^A-Za-z0-9-]/g, '');
  if (plain.length <= MAX_ID_LENGTH) return plain;
  return createHash('sha256').update(batchKey).digest('hex').slice(0, MAX_ID_LENGTH);
}

/**
 * The keys of the payments in the message with this identification, by its file in this folder: a batch may be several
 * messages, and each has payments of its own. Undefined: no file here has it.
 */
export async function readMessagePayments(folder: string, messageId: string): Promise<string[] | undefined> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.xml'));
  for (const name of names) {
    const text = await readFile(join(folder, name), 'utf8');
    if (!text.includes(`<MsgId>${messageId}</MsgId>`)) continue;
    return [...text.matchAll(/<EndToEndId>([^<]+)<\/EndToEndId>/g)].map(([, key = '']) => key);
  }
  return undefined;
}
