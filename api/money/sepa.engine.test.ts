import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditLedger } from '../../ledger/audit/audit.ts';
import type { PayoutProvider } from '../../ledger/payouts/provider.ts';
import { createSepaProvider } from '../../ledger/payouts/providers/sepa-xml.ts';
import { reconcilePayouts } from '../../ledger/payouts/submit.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { givePayoutMethod } from '../../test/support/ledger.ts';
import { type ReadFile, readCreditTransfers } from '../../test/support/money/sepa.ts';

/** Payouts as SEPA credit transfers: the file, its downloads, and what the bank answers. */

const DEBTOR = { name: 'Größer & Söhne GmbH', iban: 'NL91 ABNA 0417 1643 00', bic: '' };

let api: TestApi;
let tenant: Tenant;
let affiliates: number[];
/** Its file cannot be written while this is so. */
let isDiskFull = false;
let provider: PayoutProvider;
beforeAll(async () => {
  const providerIn = (folder: string): PayoutProvider => {
    const sepa = createSepaProvider({ folder, debtor: DEBTOR });
    provider = {
      ...sepa,
      submit: async (batch) => {
        if (isDiskFull) throw new Error('the disk is full');
        return await sepa.submit(batch);
      },
    };
    return provider;
  };
  api = await startTestApi(undefined, undefined, undefined, providerIn);
  tenant = await api.tenant('sepa');
  await setTerms(api.ledger, {
    programId: tenant.programId,
    holdDays: 0,
    payoutMinMinor: 0n,
    levelRatesBps: [],
  });
  affiliates = [];
});
afterAll(async () => await api?.stop());

/** An affiliate with this account holder and 10.00 available. */
async function earn(holder: string, iban = 'DE89370400440532013000'): Promise<number> {
  const { programId } = tenant;
  const name = `affiliate-${affiliates.length}`;
  const { id } = await createAffiliate(api.ledger, {
    programId,
    refCode: name,
    name,
    email: `${name}@example.com`,
    status: 'active',
  });
  await givePayoutMethod(api.ledger, id, { kind: 'bank', holder, iban }, api.secretBox);
  await decideConversion(api.ledger, { tenant, orderId: name, affiliateId: id, outcome: 'attributed' });
  affiliates.push(id);
  return id;
}

interface Payout {
  readonly id: string;
  readonly affiliate_id: string;
  readonly state: string;
  readonly failure: string | null;
  readonly provider_failure: string | null;
}

const post = (path: string, json?: unknown, key = tenant.keys.finance) =>
  api.call('POST', path, { key, ...(json !== undefined && { json }) });
const payouts = async () =>
  (await api.call('GET', '/v1/payouts', { key: tenant.keys.operator })).body.data as Payout[];

/** A run, and the one file that it wrote, as an independent reader understands it. */
async function runAndRead(): Promise<{ id: string; file: ReadFile; run: Record<string, unknown> }> {
  const { body: run } = await api.runPayouts(tenant.keys.operator);
  const { body } = await api.call('GET', '/v1/payout-files', { key: tenant.keys.finance });
  const [{ id }] = body.data as [{ id: string }];
  const { body: download } = await post(`/v1/payout-files/${id}/download`);
  const [{ text }] = download.files as [{ text: string }];
  return { id, file: readCreditTransfers(text), run };
}

const pain002 = (inside: string) =>
  `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>${inside}</CstmrPmtStsRpt></Document>`;
const results = (xml: string, dryRun = false) =>
  api.call('POST', `/v1/payouts/results?dry_run=${dryRun}`, {
    key: tenant.keys.finance,
    raw: xml,
    headers: { 'content-type': 'application/xml' },
  });
interface Booked {
  readonly code?: string;
  /** The bank's own. */
  readonly reference?: string;
  readonly amount?: string;
  readonly currency?: string;
}
const booked = (...transactions: [key: string, direction: 'DBIT' | 'CRDT', more?: string | Booked][]) =>
  `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"><BkToCstmrDbtCdtNtfctn><Ntfctn>${transactions
    .map(([key, direction, more = {}]) => {
      const {
        code,
        reference,
        amount = '10.00',
        currency = 'EUR',
      } = typeof more === 'string' ? { code: more } : more;
      const own = reference === undefined ? '' : `<AcctSvcrRef>${reference}</AcctSvcrRef>`;
      const back = code === undefined ? '' : `<RtrInf><Rsn><Cd>${code}</Cd></Rsn></RtrInf>`;
      return `<Ntry><Amt Ccy="${currency}">${amount}</Amt><CdtDbtInd>${direction}</CdtDbtInd>
      <Sts><Cd>BOOK</Cd></Sts><NtryDtls><TxDtls><Refs>${own}<EndToEndId>${key}</EndToEndId></Refs>
      <Amt Ccy="${currency}">${amount}</Amt>${back}</TxDtls></NtryDtls></Ntry>`;
    })
    .join('')}</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>`;

test('a run is one file by the rules of the scheme, with the holders as every bank reads them', async () => {
  const zoe = await earn('Zoë Ünal & Søn <GmbH>');
  await earn('Ελένη Παπαδοπούλου');
  await earn('Юлия Ковальчук', 'FR1420041010050500013M02606');
  await earn(`Straße ${'x'.repeat(100)}`);
  const outside = await earn('John Doe', 'TR330006100519786457841326');
  const { file, run } = await runAndRead();
  expect(file.faults).toEqual([]);
  expect(file).toMatchObject({
    debtor: 'Grosser + Sohne GmbH',
    debtorIban: 'NL91ABNA0417164300',
    debtorAgent: 'NOTPROVIDED',
    date: new Date().toISOString().slice(0, 10),
  });
  expect(file.transfers.map(({ name, amountCents }) => [name, amountCents])).toEqual([
    ['Zoe Unal + Son GmbH', 1_000],
    ['Eleni Papadopoyloy', 1_000],
    [expect.stringMatching(/^[A-Za-z]+ Koval'?chuk$/), 1_000],
    [`Strasse ${'x'.repeat(62)}`, 1_000],
  ]);
  // The payout's own number is the creditor's reference.
  const made = (run.payouts as Payout[]).find(({ affiliate_id }) => affiliate_id === `aff_${zoe}`);
  expect(file.transfers[0]?.reference.slice(4)).toBe(made?.id.replace('_', '').toUpperCase());
  expect(run).toMatchObject({ built: 5, submitted: 4, failed: 1 });
  const refused = (await payouts()).find(({ affiliate_id }) => affiliate_id === `aff_${outside}`);
  expect(refused).toMatchObject({ state: 'failed', provider_failure: 'the account is outside SEPA' });
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a file is downloaded by who may pay, its downloads are shown, and a second one must be asked for', async () => {
  const { body } = await api.call('GET', '/v1/payout-files', { key: tenant.keys.finance });
  const [{ id, downloads }] = body.data as [{ id: string; downloads: { by: string }[] }];
  expect(body.data).toMatchObject([
    { provider: 'sepa_xml', payouts: 4, total: { amount: '40.00', currency: 'EUR' } },
  ]);
  expect(downloads).toMatchObject([{ by: expect.stringMatching(/^key:\d+$/) }]);
  const path = `/v1/payout-files/${id}/download`;
  const second = await post(path, {});
  expect(second).toMatchObject({ status: 409, body: { code: 'already_downloaded' } });
  expect(second.body.detail).toContain(downloads[0]?.by);
  const again = await post(path, { again: true }, tenant.keys.operator);
  expect(again).toMatchObject({ status: 200, body: { payout_file: { downloads: [{}, {}] } } });
  for (const key of [tenant.keys.affiliate, tenant.keys.advertiser, tenant.keys.fraud]) {
    expect((await post(path, { again: true }, key)).status).toBe(403);
    expect((await api.call('GET', '/v1/payout-files', { key })).status).toBe(403);
  }
  const other = await api.tenant('other');
  expect((await post(path, { again: true }, other.keys.finance)).status).toBe(404);
  const { body: log } = await api.call('GET', '/v1/audit-log?action=payout_file.download', {
    key: tenant.keys.operator,
  });
  expect(log.data).toMatchObject([{ subject: id }, { subject: id }]);
});

test('pain.002 and camt.054 record what the bank says, by end-to-end id, in words for affiliates', async () => {
  const [closed, , third] = await Promise.all(
    (await payouts()).filter(({ state }) => state === 'submitted').toReversed(),
  );
  const { body } = await api.call('GET', '/v1/payout-files', { key: tenant.keys.finance });
  const [{ id }] = body.data as [{ id: string }];
  const { body: download } = await post(`/v1/payout-files/${id}/download`, { again: true });
  const [{ text }] = download.files as [{ text: string }];
  const keys = readCreditTransfers(text).transfers.map(({ endToEndId }) => endToEndId);
  const [first = '', paid = '', returned = ''] = keys;
  const report = pain002(`<OrgnlGrpInfAndSts><GrpSts>PART</GrpSts></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts>
    <TxInfAndSts><OrgnlEndToEndId>${first}</OrgnlEndToEndId><TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf></TxInfAndSts>
    <TxInfAndSts><OrgnlEndToEndId>${paid}</OrgnlEndToEndId><TxSts>ACCP</TxSts></TxInfAndSts></OrgnlPmtInfAndSts>`);
  const dry = await results(report, true);
  expect(dry.body).toMatchObject({ dry_run: true, recorded: 1 });
  expect((await results(report)).body).toMatchObject({
    recorded: 1,
    rows: [{ outcome: 'recorded', state: 'failed', payout_id: closed?.id }, { outcome: 'open' }],
  });
  expect((await results(report)).body).toMatchObject({ recorded: 0, rows: [{ outcome: 'repeated' }, {}] });
  const bookings = booked(
    [paid, 'DBIT'],
    [returned, 'DBIT'],
    [returned, 'CRDT', 'AC06'],
    ['NOTPROVIDED', 'DBIT'],
  );
  expect((await results(bookings)).body).toMatchObject({
    recorded: 3,
    rows: [{ state: 'paid' }, { state: 'paid' }, { state: 'returned' }, { outcome: 'not_found' }],
  });
  const states = new Map((await payouts()).map((payout) => [payout.id, payout]));
  expect(states.get(closed?.id ?? '')).toMatchObject({
    state: 'failed',
    failure: 'the account is closed',
    provider_failure: 'AC04: the account is closed',
  });
  expect(states.get(third?.id ?? '')).toMatchObject({ state: 'returned', failure: 'the account is blocked' });
  // Both accounts are stopped until they change.
  const { body: preview } = await api.call('GET', '/v1/payouts/preview', { key: tenant.keys.finance });
  const reasons = (preview.left_out as { reason: string }[]).map(({ reason }) => reason);
  expect(reasons.filter((reason) => reason === 'method_refused')).toHaveLength(3);
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a message that the bank refuses whole fails all its payouts, and stops no account', async () => {
  for (const holder of ['Ann Example', 'Bob Example']) await earn(holder);
  const { file } = await runAndRead();
  expect(file.transfers).toHaveLength(2);
  const report = pain002(
    `<OrgnlGrpInfAndSts><OrgnlMsgId>${file.messageId}</OrgnlMsgId><GrpSts>RJCT</GrpSts><StsRsnInf><Rsn><Cd>AM04</Cd></Rsn></StsRsnInf></OrgnlGrpInfAndSts>`,
  );
  expect((await results(report)).body).toMatchObject({
    recorded: 2,
    rows: [{ state: 'failed' }, { state: 'failed' }],
  });
  expect((await payouts()).slice(0, 2)).toMatchObject([
    { failure: 'the payment was refused', provider_failure: 'AM04: the payment was refused' },
    { failure: 'the payment was refused' },
  ]);
  const { body: run } = await api.runPayouts(tenant.keys.operator);
  expect(run).toMatchObject({ built: 2, submitted: 2 });
  const unknown = report.replace(file.messageId, 'bat00000000000000000000000000000000');
  expect((await results(unknown)).body).toMatchObject({ recorded: 0, rows: [{ outcome: 'not_found' }] });
});

test('a message that is refused whole for one transfer fails the others too; one that is refused as a duplicate fails none', async () => {
  const sent = async () => (await payouts()).filter(({ state }) => state === 'submitted');
  for (const { id } of await sent()) await post(`/v1/payouts/${id}/mark-paid`);
  for (const holder of ['Cy Example', 'Di Example', 'Ed Example']) await earn(holder);
  const { file } = await runAndRead();
  expect(file.transfers).toHaveLength(3);
  const refused = (code: string, inside = '') =>
    pain002(
      `<OrgnlGrpInfAndSts><OrgnlMsgId>${file.messageId}</OrgnlMsgId><GrpSts>RJCT</GrpSts><StsRsnInf><Rsn><Cd>${code}</Cd></Rsn></StsRsnInf></OrgnlGrpInfAndSts>${inside}`,
    );
  expect((await results(refused('DU01'))).body).toMatchObject({
    recorded: 0,
    rows: [{ outcome: 'refused' }],
  });
  expect(await sent()).toHaveLength(3);
  const culprit = `<OrgnlPmtInfAndSts><TxInfAndSts><OrgnlEndToEndId>${file.transfers[1]?.endToEndId}</OrgnlEndToEndId>
    <StsRsnInf><Rsn><Cd>AC01</Cd></Rsn></StsRsnInf></TxInfAndSts></OrgnlPmtInfAndSts>`;
  expect((await results(refused('FF01', culprit))).body).toMatchObject({
    recorded: 3,
    rows: [{ state: 'failed' }, { state: 'failed' }, { state: 'failed' }],
  });
  const { body: run } = await api.runPayouts(tenant.keys.operator);
  expect(run).toMatchObject({ built: 2, submitted: 2 });
});

test('a file of payouts that have ended is given out only when it is asked for again', async () => {
  await earn('Fay Example');
  await api.runPayouts(tenant.keys.operator);
  const { body } = await api.call('GET', '/v1/payout-files', { key: tenant.keys.finance });
  const [{ id }] = body.data as [{ id: string }];
  const [payout] = await payouts();
  expect(
    (await post(`/v1/payouts/${payout?.id}/fail`, { failure: 'not sent', account_refused: false })).status,
  ).toBe(200);
  const path = `/v1/payout-files/${id}/download`;
  const first = await post(path, {});
  expect(first).toMatchObject({ status: 409, body: { code: 'already_downloaded' } });
  expect(first.body.detail).toContain('have ended');
  expect((await post(path, { again: true })).status).toBe(200);
});

/** Everything before is paid, so that what comes is all there is. */
async function closeAll(): Promise<void> {
  await api.runPayouts(tenant.keys.operator);
  for (const { id, state } of await payouts()) {
    if (state === 'submitted') await post(`/v1/payouts/${id}/mark-paid`);
  }
}

test('a message of payments that were handed over again is refused alone, and no status reaches a payment of another message', async () => {
  await closeAll();
  const holders = ['Gus Example', 'Hal Example', 'Ida Example'];
  const [, , third = 0] = [
    await earn(holders[0] ?? ''),
    await earn(holders[1] ?? ''),
    await earn(holders[2] ?? ''),
  ];
  isDiskFull = true;
  await api.runPayouts(tenant.keys.operator);
  isDiskFull = false;
  const again = () => reconcilePayouts(api.ledger, { now: new Date(), provider, secretBox: api.secretBox });
  const setStatus = (status: string) =>
    api.ledger`update affiliates set status = ${status} where id = ${third}`;
  await setStatus('suspended');
  expect(await again()).toEqual({ asked: 3, resubmitted: 2, unknown: 1 });
  await setStatus('active');
  expect(await again()).toEqual({ asked: 1, resubmitted: 1, unknown: 0 });
  const { body } = await api.call('GET', '/v1/payout-files', { key: tenant.keys.finance });
  const [{ id }] = body.data as [{ id: string }];
  const { body: download } = await post(`/v1/payout-files/${id}/download`);
  const files = (download.files as { text: string }[]).map(({ text }) => readCreditTransfers(text));
  const [two, one] = files.toSorted((a, b) => b.transfers.length - a.transfers.length);
  const [first = '', second = ''] = two?.transfers.map(({ endToEndId }) => endToEndId) ?? [];
  const [last = ''] = one?.transfers.map(({ endToEndId }) => endToEndId) ?? [];
  const refusal = (messageId: string | undefined, inside: string) =>
    pain002(`<OrgnlGrpInfAndSts><OrgnlMsgId>${messageId}</OrgnlMsgId><GrpSts>RJCT</GrpSts>
      <StsRsnInf><Rsn><Cd>FF01</Cd></Rsn></StsRsnInf></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts>${inside}</OrgnlPmtInfAndSts>`);
  const named = (key: string, status = '') =>
    `<TxInfAndSts><OrgnlEndToEndId>${key}</OrgnlEndToEndId>${status}</TxInfAndSts>`;
  const report = refusal(one?.messageId, named(first) + named(second, '<TxSts>ACSC</TxSts>') + named(last));
  expect((await results(report)).body).toMatchObject({
    recorded: 2,
    rows: [
      { payment_key: first, outcome: 'refused', detail: expect.stringContaining('another payment file') },
      { payment_key: second, outcome: 'recorded', state: 'paid' },
      { payment_key: last, outcome: 'recorded', state: 'failed' },
    ],
  });
  expect((await payouts()).slice(0, 3).map(({ state }) => state)).toEqual(['failed', 'paid', 'submitted']);
  const whole = (await results(refusal(two?.messageId, ''))).body;
  // What was paid in between has not failed.
  expect(whole).toMatchObject({ recorded: 1, rows: [{ payment_key: first, state: 'failed' }] });
  const other = await api.tenant('foreign');
  const foreign = await api.call('POST', '/v1/payouts/results?dry_run=true', {
    key: other.keys.finance,
    raw: refusal(one?.messageId, ''),
    headers: { 'content-type': 'application/xml' },
  });
  expect(foreign.body).toMatchObject({ recorded: 0, rows: [{ outcome: 'not_found' }] });
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

/** The key of a payment of 10.00 that is on its way alone. */
async function oneOnItsWay(): Promise<string> {
  await closeAll();
  await earn('Jo Example');
  await api.runPayouts(tenant.keys.operator);
  const [sent] = await api.ledger<{ providerKey: string }[]>`
    select provider_key from payouts where state = 'submitted' and program_id = ${tenant.programId}`;
  return sent?.providerKey ?? '';
}
const outcomes = async (xml: string) =>
  ((await results(xml)).body.rows as { outcome: string; state: string; detail: string | null }[]).map(
    ({ outcome, state, detail }) => [outcome, state, detail],
  );

test('a double booking of which one is given back stays paid, in one file in any order, read twice and at once', async () => {
  for (const [i, order] of [
    [0, 1, 2],
    [2, 0, 1],
  ].entries()) {
    const key = await oneOnItsWay();
    const bookings: Parameters<typeof booked> = [
      [key, 'DBIT', { reference: 'A' }],
      [key, 'DBIT', { reference: 'B' }],
      [key, 'CRDT', { reference: 'C', code: 'AC04' }],
    ];
    const file = booked(...order.flatMap((at) => (bookings[at] === undefined ? [] : [bookings[at]])));
    expect((await results(file, true)).body.recorded).toBe(2);
    const answers = await Promise.all(i === 0 ? [outcomes(file)] : [1, 2, 3, 4].map(() => outcomes(file)));
    expect(answers.flat().filter(([outcome]) => outcome === 'recorded')).toHaveLength(2);
    expect(answers.flat().every(([outcome]) => outcome === 'recorded' || outcome === 'repeated')).toBe(true);
    expect(answers.flat()).toContainEqual([
      'recorded',
      i === 0 ? 'paid' : 'submitted',
      'one of 2 debits was given back: the payment stays paid',
    ]);
    expect((await outcomes(file)).map(([outcome, state]) => [outcome, state])).toEqual(
      order.map(() => ['repeated', 'paid']),
    );
    expect((await payouts())[0]).toMatchObject({ state: 'paid', failure: null });
  }
  const { body: preview } = await api.call('GET', '/v1/payouts/preview', { key: tenant.keys.finance });
  expect(preview.payouts).toBe(0);
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a double booking over several files is reported until it is given back, and a payout returns once no debit is left', async () => {
  const key = await oneOnItsWay();
  const debit = (reference: string) => booked([key, 'DBIT', { reference }]);
  const credit = (reference: string) => booked([key, 'CRDT', { reference, code: 'AC04' }]);
  expect(await outcomes(debit('A'))).toEqual([['recorded', 'paid', null]]);
  expect(await outcomes(debit('A'))).toEqual([['repeated', 'paid', null]]);
  const unexplained = 'the bank has debited it 2 times and given back 0: it was to be paid once';
  for (let time = 0; time < 2; time++) {
    expect(await outcomes(debit('B'))).toEqual([['contradicts', 'paid', unexplained]]);
  }
  // A cent less, other money: no booking of this payment.
  for (const wrong of [{ amount: '9.99' }, { amount: '10.00', currency: 'USD' }]) {
    expect(await outcomes(booked([key, 'CRDT', { reference: 'X', ...wrong }]))).toEqual([
      ['amount_differs', 'paid', null],
    ]);
  }
  expect(await outcomes(credit('C'))).toEqual([
    ['recorded', 'paid', 'one of 2 debits was given back: the payment stays paid'],
  ]);
  expect(await outcomes(debit('B'))).toEqual([['repeated', 'paid', null]]);
  expect(await outcomes(credit('D'))).toEqual([['recorded', 'returned', null]]);
  expect(await outcomes(credit('C'))).toEqual([['repeated', 'returned', null]]);
  // Paid again by the bank after it had come back.
  const twice =
    'the bank has debited it 3 times and given back 2, but here it has come back: it may be paid twice';
  for (let time = 0; time < 2; time++) {
    expect(await outcomes(debit('E'))).toEqual([['contradicts', 'returned', twice]]);
  }
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a return that a person has recorded, or that comes without its debit, is as it was', async () => {
  const byHand = await oneOnItsWay();
  const [{ id = '' } = {}] = await payouts();
  await post(`/v1/payouts/${id}/mark-paid`);
  expect((await post(`/v1/payouts/${id}/return`, { failure: 'closed', account_refused: false })).status).toBe(
    200,
  );
  expect(await outcomes(booked([byHand, 'DBIT'], [byHand, 'CRDT', 'AC04']))).toEqual([
    ['repeated', 'returned', null],
    ['repeated', 'returned', null],
  ]);
  const alone = await oneOnItsWay();
  expect(await outcomes(booked([alone, 'CRDT', 'AC04']))).toEqual([['recorded', 'returned', null]]);
  expect(await outcomes(booked([alone, 'DBIT']))).toEqual([['repeated', 'returned', null]]);
});

test('hostile XML is refused, and nothing of it is done', async () => {
  await oneOnItsWay();
  const [open] = (await payouts()).filter(({ state }) => state === 'submitted');
  const entity = `<!DOCTYPE d [<!ENTITY k "pay">]>${booked(['&k;', 'DBIT'])}`;
  for (const xml of [entity, '<Document>', 'payment_key\n1\n', booked()]) {
    const { status, body } = await results(xml);
    expect([status, body.field]).toEqual([422, 'body']);
  }
  const large = booked(['x'.repeat(3_000_000), 'DBIT']);
  expect((await results(large)).status).toBe(413);
  const latin = await api.call('POST', '/v1/payouts/results', {
    key: tenant.keys.finance,
    raw: Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><Document>\xe9</Document>', 'latin1'),
    headers: { 'content-type': 'text/xml' },
  });
  expect(latin.status).toBe(400);
  expect((await payouts()).find(({ id }) => id === open?.id)?.state).toBe('submitted');
});

test('who pays is checked when the platform starts', () => {
  const create = (debtor: Partial<typeof DEBTOR>) => () =>
    createSepaProvider({ folder: '/nowhere', debtor: { ...DEBTOR, ...debtor } });
  expect(create({ name: '' })).toThrow(/SEPA_DEBTOR_NAME/);
  expect(create({ iban: 'NL91ABNA0417164301' })).toThrow(/SEPA_DEBTOR_IBAN/);
  expect(create({ bic: 'ABNANL' })).toThrow(/SEPA_DEBTOR_BIC/);
  expect(create({ bic: 'ABNANL2A' })).not.toThrow();
});
