import { describe, expect, test } from 'vitest';
import { readSepaResults } from './sepa-results.ts';

const statusReport = (inside: string, version = '10') => `<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.${version}"><CstmrPmtStsRpt>
  <GrpHdr><MsgId>bank-1</MsgId><CreDtTm>2026-11-29T10:00:00</CreDtTm></GrpHdr>${inside}
</CstmrPmtStsRpt></Document>`;
const group = (inside = '') =>
  `<OrgnlGrpInfAndSts><OrgnlMsgId>bat0123456789abcdef0123456789abcdef</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>${inside}</OrgnlGrpInfAndSts>`;
const transfer = (key: string, status: string, inside = '') =>
  `<TxInfAndSts><OrgnlEndToEndId>${key}</OrgnlEndToEndId><TxSts>${status}</TxSts>${inside}</TxInfAndSts>`;
const reason = (code: string) => `<StsRsnInf><Rsn><Cd>${code}</Cd></Rsn></StsRsnInf>`;
const payment = (...transfers: string[]) =>
  `<OrgnlPmtInfAndSts><OrgnlPmtInfId>p</OrgnlPmtInfId>${transfers.join('')}</OrgnlPmtInfAndSts>`;

const notification = (...entries: string[]) => `<?xml version="1.0" encoding="UTF-8"?>
<ns:Document xmlns:ns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"><ns:BkToCstmrDbtCdtNtfctn><ns:Ntfctn>
${entries.join('').replaceAll(/<(\/?)(?=[A-Z])/g, '<$1ns:')}</ns:Ntfctn></ns:BkToCstmrDbtCdtNtfctn></ns:Document>`;
const entry = (direction: string, status: string, ...details: string[]) =>
  `<Ntry><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>${direction}</CdtDbtInd><Sts>${status}</Sts>${details.length === 0 ? '' : `<NtryDtls>${details.join('')}</NtryDtls>`}</Ntry>`;
const details = (key: string, amount: string, inside = '') =>
  `<TxDtls><Refs><EndToEndId>${key}</EndToEndId></Refs><Amt Ccy="EUR">${amount}</Amt>${inside}</TxDtls>`;

describe('pain.002', () => {
  test('says by end-to-end id what became of each transfer', () => {
    const { rows, refusedMessages } = readSepaResults(
      statusReport(
        group('<GrpSts>PART</GrpSts>') +
          payment(
            transfer('pay-1', 'ACCP'),
            transfer('pay-2', 'RJCT', reason('AC04')),
            transfer('pay-3', 'RJCT', reason('AM04')),
            transfer(
              'pay-4',
              'ACSC',
              '<OrgnlTxRef><Amt><InstdAmt Ccy="EUR">12.3400</InstdAmt></Amt></OrgnlTxRef>',
            ),
          ) +
          payment(
            transfer('pay-5', 'RJCT'),
            transfer('pay-6', 'XXXX'),
            '<TxInfAndSts><TxSts>RJCT</TxSts></TxInfAndSts>',
          ),
      ),
    );
    expect(refusedMessages).toEqual([]);
    expect(rows).toMatchObject([
      { line: 1, paymentKey: 'pay-1', result: 'open' },
      {
        paymentKey: 'pay-2',
        result: {
          status: 'failed',
          accountRefused: true,
          failure: 'the account is closed',
          reason: 'AC04: the account is closed',
        },
      },
      // The operator's balance: no affiliate reads of it, and no account is stopped.
      { result: { status: 'failed', accountRefused: false, failure: 'the payment was refused' } },
      { result: { status: 'paid', amountMinor: 1_234n, currency: 'EUR' } },
      {
        result: {
          status: 'failed',
          accountRefused: true,
          failure: 'the bank of the account refused the payment',
        },
      },
      { line: 6, result: { field: 'TxSts' } },
      { line: 7, result: { field: 'OrgnlEndToEndId' } },
    ]);
  });

  test('refuses a message whole, by its group or its payment', () => {
    for (const inside of [
      group(`<GrpSts>RJCT</GrpSts>${reason('DT01')}`),
      group() + payment(`<PmtInfSts>RJCT</PmtInfSts>${reason('DT01')}`),
      group(`<GrpSts>RJCT</GrpSts>${reason('DT01')}`) +
        payment(`<PmtInfSts>RJCT</PmtInfSts>${reason('DT01')}`),
    ]) {
      const { rows, refusedMessages } = readSepaResults(statusReport(inside, '03'));
      expect(rows).toEqual([]);
      expect(refusedMessages).toMatchObject([
        {
          messageId: 'bat0123456789abcdef0123456789abcdef',
          result: { status: 'failed', accountRefused: false, reason: 'DT01: the payment was refused' },
        },
      ]);
    }
    const { rows } = readSepaResults(statusReport(group('<GrpSts>ACCP</GrpSts>')));
    expect(rows).toMatchObject([{ result: 'open' }]);
  });
});

test('a refusal of the whole message fails what it does not name too, and is about no account', () => {
  const culprit = '<TxInfAndSts><OrgnlEndToEndId>pay-2</OrgnlEndToEndId>';
  for (const [inside, words] of [
    [group('<GrpSts>RJCT</GrpSts>') + payment(`${culprit}${reason('AC01')}</TxInfAndSts>`), 'no code'],
    [
      group(`<GrpSts>RJCT</GrpSts>${reason('AC01')}`) + payment(transfer('pay-2', 'RJCT', reason('AC01'))),
      'AC01',
    ],
    [group() + payment('<PmtInfSts>RJCT</PmtInfSts>', transfer('pay-2', 'RJCT', reason('AC01'))), 'no code'],
  ] as const) {
    const { rows, refusedMessages } = readSepaResults(statusReport(inside));
    expect(rows).toMatchObject([{ line: 1, result: { status: 'failed', accountRefused: true } }]);
    expect(refusedMessages).toMatchObject([
      {
        line: 2,
        result: {
          status: 'failed',
          accountRefused: false,
          failure: 'the payment was refused',
          reason: expect.stringContaining(words),
        },
      },
    ]);
  }
});

test.each(['AM05', 'DU01', 'DU04', 'DUPL'])(
  'a refusal as a duplicate (%s) fails nothing: the first one may be paid',
  (code) => {
    const whole = readSepaResults(statusReport(group(`<GrpSts>RJCT</GrpSts>${reason(code)}`)));
    expect(whole).toMatchObject({ refusedMessages: [], rows: [{ result: { field: 'StsRsnInf' } }] });
    const one = readSepaResults(statusReport(group() + payment(transfer('pay-1', 'RJCT', reason(code)))));
    expect(one).toMatchObject({ refusedMessages: [], rows: [{ result: { field: 'StsRsnInf' } }] });
  },
);

describe('camt.054', () => {
  test('the amount of an entry is that of its only transaction; what comes back has one', () => {
    const noAmount = (key: string) => `<TxDtls><Refs><EndToEndId>${key}</EndToEndId></Refs></TxDtls>`;
    const { rows } = readSepaResults(
      notification(
        entry('CRDT', 'BOOK', noAmount('pay-1')),
        entry('CRDT', 'BOOK', noAmount('pay-2'), noAmount('pay-3')),
      ),
    );
    expect(rows).toMatchObject([
      { result: { status: 'returned', amountMinor: 100n, currency: 'EUR' } },
      { result: { field: 'Amt' } },
      { result: { field: 'Amt' } },
    ]);
  });

  test('a booked debit was paid, a credit under its reference has come back', () => {
    const { rows } = readSepaResults(
      notification(
        entry('DBIT', 'BOOK', details('pay-1', '10.00'), details('pay-2', '20.00')),
        entry('DBIT', '<Cd>BOOK</Cd>', details('pay-3', '30.00')),
        entry('DBIT', '<Cd>PDNG</Cd>', details('pay-4', '40.00')),
        entry('CRDT', 'BOOK', details('pay-1', '10.00', '<RtrInf><Rsn><Cd>AC01</Cd></Rsn></RtrInf>')),
        entry('DBIT', 'BOOK'),
      ),
    );
    expect(rows).toMatchObject([
      { line: 1, paymentKey: 'pay-1', result: { status: 'paid', amountMinor: 1_000n } },
      { line: 2, paymentKey: 'pay-2', result: { status: 'paid', amountMinor: 2_000n } },
      { result: { status: 'paid', amountMinor: 3_000n } },
      { paymentKey: 'pay-4', result: 'open' },
      {
        paymentKey: 'pay-1',
        result: { status: 'returned', accountRefused: true, failure: 'the account number is wrong' },
      },
      { line: 6, result: { field: 'EndToEndId' } },
    ]);
  });
});

describe('a booking', () => {
  const references = (xml: string) =>
    readSepaResults(xml).rows.map(({ result }) =>
      typeof result === 'object' && 'booking' in result ? result.booking?.reference : result,
    );
  const withReference = (one: string, reference: string) =>
    one.replace('</CdtDbtInd>', `</CdtDbtInd><AcctSvcrRef>${reference}</AcctSvcrRef>`);
  const own = (key: string, reference: string) =>
    `<TxDtls><Refs><AcctSvcrRef>${reference}</AcctSvcrRef><EndToEndId>${key}</EndToEndId></Refs><Amt Ccy="EUR">1.00</Amt></TxDtls>`;

  test('is known in another file by the bank’s reference of the transaction, else of the entry', () => {
    const one = entry('DBIT', 'BOOK', own('pay-1', 'T1'), own('pay-1', 'T2'));
    const two = withReference(
      entry('DBIT', 'BOOK', details('pay-1', '1.00'), details('pay-2', '1.00')),
      'E1',
    );
    expect(references(notification(one, two))).toEqual(['T1', 'T2', 'E1', 'E1']);
    expect(references(notification(two, one, two))).toEqual(['E1', 'E1', 'T1', 'T2', 'E1', 'E1']);
    const twice = withReference(
      entry('DBIT', 'BOOK', details('pay-1', '1.00'), details('pay-1', '1.00')),
      'E1',
    );
    expect(references(notification(twice))).toEqual(['E1', 'E1 #2']);
  });

  test('without a reference is known by its day and its number among those of the payment', () => {
    const on = (day: string, direction = 'DBIT') =>
      entry(direction, 'BOOK', details('pay-1', '1.00')).replace(
        '</CdtDbtInd>',
        `</CdtDbtInd><BookgDt><Dt>${day}</Dt></BookgDt>`,
      );
    const file = notification(on('2026-11-01'), on('2026-11-01'), on('2026-11-02'), on('2026-11-01', 'CRDT'));
    expect(references(file)).toEqual(['2026-11-01 #1', '2026-11-01 #2', '2026-11-02 #1', '2026-11-01 #1']);
    expect(references(file)).toEqual(references(file));
    // A second debit of that day in another message is another booking; the same message read again has the same ones.
    const named = (id: string) =>
      references(
        file.replace('<ns:Ntfctn>', `<ns:GrpHdr><ns:MsgId>${id}</ns:MsgId></ns:GrpHdr><ns:Ntfctn>`),
      )[0];
    expect([named('N1'), named('N2'), named('N1')]).toEqual([
      '2026-11-01 of N1 #1',
      '2026-11-01 of N2 #1',
      '2026-11-01 of N1 #1',
    ]);
    const ofEntry = withReference(entry('DBIT', 'BOOK', details('pay-1', '1.00')), 'X');
    const inDetails = entry('DBIT', 'BOOK', own('pay-1', 'X'));
    expect([references(notification(ofEntry)), references(notification(inDetails))]).toEqual([['X'], ['X']]);
    expect(references(notification(entry('DBIT', 'BOOK', details('pay-1', '1.00'))))).toEqual(['no day #1']);
  });

  test('with an endless reference is refused in its row', () => {
    const endless = entry('DBIT', 'BOOK', own('pay-1', 'x'.repeat(141)), own('pay-2', 'T2'));
    expect(readSepaResults(notification(endless)).rows).toMatchObject([
      { result: { field: 'AcctSvcrRef' } },
      { result: { status: 'paid' } },
    ]);
  });
});

describe('refuses', () => {
  const bomb = `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><Document>&lol2;</Document>`;
  const outside = `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document>&x;</Document>`;
  test.each([
    ['entities that grow', bomb, /no document type/],
    ['entities that point elsewhere', outside, /no document type/],
    ['a document type in lower case', '<!doctype html><html></html>', /no document type/],
    ['what is not well-formed', '<Document><CstmrPmtStsRpt></Document>', /not well-formed/],
    ['a NUL', notification(entry('DBIT', 'BOOK', details('pay\0', '1.00'))), /no NUL/],
    ['no XML', 'payment_key\npay-1\n', /not well-formed|must be a pain\.002/],
    ['another message', '<Document><FIToFIPmtStsRpt/></Document>', /must be a pain\.002/],
    ['names of prototypes', '<Document><__proto__><x>1</x></__proto__></Document>', /./],
    ['elements without an end', '<a>'.repeat(5_000) + '</a>'.repeat(5_000), /./],
  ])('%s', (_, xml, message) => {
    expect(() => readSepaResults(xml)).toThrow(message);
    expect(() => readSepaResults(xml)).toThrow(/^body: /);
  });

  test('an amount that is none, in its row', () => {
    const { rows } = readSepaResults(notification(entry('DBIT', 'BOOK', details('pay-1', '1,00'))));
    expect(rows).toMatchObject([{ result: { field: 'amount' } }]);
  });

  test('a namespace of the bank’s own is read, and a wrapper around the document is not', () => {
    const own = notification(entry('DBIT', 'BOOK', details('pay-1', '1.00'))).replace(
      'urn:iso:std',
      'urn:bank',
    );
    expect(readSepaResults(own).rows).toMatchObject([{ paymentKey: 'pay-1', result: { status: 'paid' } }]);
    const wrapped = own.replace(/<ns:Document.*<\/ns:Document>/s, '<Envelope>$&</Envelope>');
    expect(() => readSepaResults(wrapped)).toThrow(/^body: /);
  });

  test('an entity in a text is a text', () => {
    const { rows } = readSepaResults(notification(entry('DBIT', 'BOOK', details('pay-&#49;&amp;', '1.00'))));
    expect(rows).toMatchObject([{ paymentKey: 'pay-1&' }]);
  });
});
