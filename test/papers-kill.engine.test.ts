import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../ledger/access/api-keys.ts';
import { auditLedger } from '../ledger/audit/audit.ts';
import { adjustBalance } from '../ledger/books/balance-adjustments.ts';
import { createSepaProvider } from '../ledger/payouts/providers/sepa-xml.ts';
import { runPayouts } from '../ledger/payouts/run.ts';
import { inTransaction } from '../ledger/postgres/db.ts';
import { type AttributionFixture, startAttributionFixture } from './support/attribution.ts';
import { waitFor } from './support/engines.ts';
import { createParties, creditOrder, TEST_SECRET_BOX, type TestParties } from './support/ledger.ts';
import { createProcesses, createStops, type Processes, type Stops } from './support/money/kills.ts';
import { readCreditTransfers } from './support/money/sepa.ts';

/** Statements, payment files and the answers of banks, with their processes killed −9 at the worst moments. */

const DEBTOR = { name: 'Shop', iban: 'NL91ABNA0417164300', bic: '' };

let world: AttributionFixture;
let processes: Processes;
let stops: Stops;
let folder: string;

beforeAll(async () => {
  world = await startAttributionFixture();
  processes = createProcesses(world, {
    PAYOUT_PROVIDER: 'sepa_xml',
    SEPA_DEBTOR_NAME: DEBTOR.name,
    SEPA_DEBTOR_IBAN: DEBTOR.iban,
  });
  stops = createStops(world.books.owner);
  folder = join(processes.home, 'payouts');
});
afterAll(async () => {
  await processes?.close();
  await world?.close();
});

async function expectBooksToHold(): Promise<void> {
  expect((await auditLedger(world.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

describe('monthly statements', () => {
  /** More than are made in one transaction. */
  const AFFILIATES = 505;

  /** Affiliates with 0.01 of a month that is closed. */
  async function earnLastMonth(): Promise<TestParties> {
    const { ledger } = world;
    const { owner } = world.books;
    const parties = await createParties(ledger);
    const { programId } = parties;
    const affiliates = await ledger<{ id: number }[]>`
      insert into affiliates (program_id, ref_code, name, email, status)
      select ${programId}, 'a' || n, 'a' || n, 'a' || n || '@example.com', 'active' from generate_series(1, ${AFFILIATES}) n
      returning id`;
    const bonus = {
      programId,
      kind: 'bonus',
      amountMinor: 1n,
      currency: 'EUR',
      note: 'x',
      actor: 'x',
    } as const;
    await inTransaction(ledger, async (tx) => {
      for (const { id: affiliateId } of affiliates) await adjustBalance(tx, { ...bonus, affiliateId });
    });
    await owner`set session_replication_role = replica`;
    await owner`update journals set created_at = created_at - interval '40 days' where program_id = ${programId}`;
    await owner`set session_replication_role = origin`;
    return parties;
  }

  test('are numbered without a gap, one for each affiliate, wherever their maker is killed', async () => {
    const { ledger } = world;
    const { owner } = world.books;
    const { programId } = await earnLastMonth();
    const numbers = async () =>
      (
        await ledger<{ number: number }[]>`
          select number from statement_documents where program_id = ${programId} order by number`
      ).map(({ number }) => number);
    for (const { condition, atCommit, made } of [
      { condition: 'new.number = 250', atCommit: false, made: 0 },
      { condition: 'new.number = 500', atCommit: true, made: 500 },
      { condition: 'new.number = 502', atCommit: false, made: 500 },
    ]) {
      await stops.before('statement_documents', condition, atCommit);
      const scheduler = await processes.start(['scheduler']);
      const pid = await stops.isStopped();
      await scheduler.kill();
      await stops.goOn();
      await stops.hasEnded(pid);
      expect(await numbers()).toEqual(Array.from({ length: made }, (_, i) => i + 1));
      // As if its lease had lapsed.
      await owner`update scheduled_tasks set due_at = clock_timestamp() where task = 'statements'`;
    }
    const scheduler = await processes.start(['scheduler']);
    await waitFor(
      async () =>
        (await owner`select from scheduled_tasks where task = 'statements' and done_at is not null`).length >
        0,
      { deadlineMs: 60_000, what: 'the statements' },
    );
    scheduler.child.kill('SIGTERM');
    await scheduler.exited;
    expect(await numbers()).toEqual(Array.from({ length: AFFILIATES }, (_, i) => i + 1));
    const [sums] = await ledger<{ affiliates: bigint; payable: bigint }[]>`
      select count(distinct affiliate_id) as affiliates, sum(payable_minor)::bigint as payable
      from statement_documents where program_id = ${programId}`;
    expect(sums).toEqual({ affiliates: BigInt(AFFILIATES), payable: BigInt(AFFILIATES) });
    await expectBooksToHold();
  });
});

/** Three affiliates with 30.00, 9.00 and 3.00 that can be paid. */
async function earn(): Promise<TestParties> {
  const parties = await createParties(world.ledger);
  for (let i = 0; i < 3; i++) await creditOrder(world.ledger, parties, { amountMinor: 10_000n });
  return parties;
}

interface Payout {
  readonly providerKey: string;
  readonly state: string;
  readonly amountMinor: bigint;
}

/** The largest first. */
async function payoutsOf({ programId }: TestParties): Promise<Payout[]> {
  return await world.ledger<Payout[]>`
    select provider_key, state, amount_minor from payouts where program_id = ${programId} order by amount_minor desc`;
}

/** The transfers to the affiliates of a program, by file. */
async function transfersOf(parties: TestParties): Promise<[id: string, cents: bigint][][]> {
  const keys = new Set((await payoutsOf(parties)).map(({ providerKey }) => providerKey));
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.xml'))
    .map((name) => readCreditTransfers(readFileSync(join(folder, name), 'utf8')));
  expect(files.flatMap(({ faults }) => faults)).toEqual([]);
  return files
    .map(({ transfers }) =>
      transfers.flatMap(({ endToEndId, amountCents }): [string, bigint][] =>
        keys.has(endToEndId) ? [[endToEndId, BigInt(amountCents)]] : [],
      ),
    )
    .filter((transfers) => transfers.length > 0);
}

describe('a run of SEPA transfers, killed', () => {
  async function expectOneFile(parties: TestParties): Promise<void> {
    await world.books.owner`update payout_batches set claimed_until = '-infinity'`;
    for (let i = 0; i < 2; i++) expect(await (await processes.start(['payouts', 'run'])).exited).toBe(0);
    const payouts = await payoutsOf(parties);
    expect(payouts.map(({ state, amountMinor }) => [state, amountMinor])).toEqual([
      ['submitted', 3_000n],
      ['submitted', 900n],
      ['submitted', 300n],
    ]);
    const [transfers = [], ...more] = await transfersOf(parties);
    expect(more).toEqual([]);
    expect(new Map(transfers)).toEqual(
      new Map(payouts.map(({ providerKey, amountMinor }) => [providerKey, amountMinor])),
    );
    expect(transfers).toHaveLength(3);
    await expectBooksToHold();
  }

  test.each([
    ['before the commit of what it has built', `new.state = 'created'`],
    ['before the commit that it will write the file', `new.state = 'submitting'`],
    ['between the file and the commit that it is there', `new.state = 'submitted'`],
  ])('%s, makes one file with each payment once', async (_when, condition) => {
    const parties = await earn();
    await stops.before('payouts', `new.program_id = ${parties.programId} and ${condition}`);
    const run = await processes.start(['payouts', 'run']);
    await stops.isStopped();
    await run.kill();
    await stops.goOn();
    await expectOneFile(parties);
  });

  test('while it writes the file, makes one file with each payment once', async () => {
    const parties = await earn();
    mkdirSync(folder, { recursive: true });
    const run = await processes.start(['payouts', 'run']);
    const watcher = watch(folder, () => run.child.kill('SIGKILL'));
    await run.exited;
    watcher.close();
    expect(run.child.signalCode).toBe('SIGKILL');
    await expectOneFile(parties);
  });
});

describe('the API, killed while it', () => {
  /** Stays when the other one is killed. */
  let survivor: Awaited<ReturnType<Processes['startApi']>>;
  beforeAll(async () => {
    survivor = await processes.startApi();
  });

  /** A program whose affiliates stand in a file, and a way to ask for it. */
  async function paidByFile() {
    const parties = await earn();
    const { programId } = parties;
    await runPayouts(world.ledger, {
      actor: 'test',
      now: new Date(Date.now() + 1_000),
      provider: createSepaProvider({ folder, debtor: DEBTOR }),
      secretBox: TEST_SECRET_BOX,
      programId,
    });
    const { key } = await createApiKey(world.ledger, { role: 'finance', name: 'test', programId });
    async function ask(
      url: string,
      path: string,
      options: { xml?: string; attempt?: string } = {},
    ): Promise<{ status: number; body: Record<string, unknown> }> {
      const { xml, attempt } = options;
      const answer = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${key}`,
          ...(xml !== undefined && { 'content-type': 'application/xml' }),
          ...(attempt !== undefined && { 'idempotency-key': attempt }),
        },
        body: xml ?? null,
      });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    }
    return { parties, ask };
  }

  /** Kills an API where it stands still, and returns once its session has ended. */
  async function killBefore(
    table: string,
    condition: string,
    atCommit: boolean,
    ask: (url: string) => Promise<unknown>,
  ): Promise<void> {
    const api = await processes.startApi();
    await stops.before(table, condition, atCommit);
    const answer = ask(api.url).then(
      () => 'answered',
      () => 'none',
    );
    const pid = await stops.isStopped();
    await api.kill();
    expect(await answer).toBe('none');
    await stops.goOn();
    await stops.hasEnded(pid);
  }

  test.each([
    ['before the commit', false],
    ['after the commit and before the answer', true],
  ])('gives a payment file out, %s, shows it once', async (_when, atCommit) => {
    const { parties, ask } = await paidByFile();
    const [batch] = await world.ledger<{ id: bigint }[]>`
      select id from payout_batches where program_id = ${parties.programId}`;
    const path = `/v1/payout-files/bat_${batch?.id}/download`;
    const attempt = randomUUID();
    await killBefore('audit_log', `new.action = 'payout_file.download'`, atCommit, (url) =>
      ask(url, path, { attempt }),
    );
    // Who does not know what came of the first request is warned before the file is shown again.
    if (atCommit) expect((await ask(survivor.url, path)).body).toMatchObject({ code: 'already_downloaded' });
    const shown = await ask(survivor.url, path, { attempt });
    expect(shown).toMatchObject({ status: 200, body: { payout_file: { downloads: [{}] }, files: [{}] } });
    expect(await ask(survivor.url, path, { attempt })).toEqual(shown);
    expect((await ask(survivor.url, path)).body).toMatchObject({ code: 'already_downloaded' });
    const downloads = await world.ledger`
      select from audit_log where subject = ${`bat_${batch?.id}`} and action = 'payout_file.download'`;
    expect(downloads).toHaveLength(1);
  });

  const booked = (direction: 'DBIT' | 'CRDT') => (payouts: readonly Payout[]) =>
    `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"><BkToCstmrDbtCdtNtfctn><Ntfctn>${payouts
      .map(
        ({ providerKey, amountMinor }) =>
          `<Ntry><CdtDbtInd>${direction}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><NtryDtls><TxDtls><Refs><EndToEndId>${providerKey}</EndToEndId></Refs><Amt Ccy="EUR">${amountMinor / 100n}.00</Amt></TxDtls></NtryDtls></Ntry>`,
      )
      .join('')}</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>`;
  const refused = (payouts: readonly Payout[]) =>
    `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt><OrgnlPmtInfAndSts>${payouts
      .map(
        ({ providerKey }) =>
          `<TxInfAndSts><OrgnlEndToEndId>${providerKey}</OrgnlEndToEndId><TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AM04</Cd></Rsn></StsRsnInf></TxInfAndSts>`,
      )
      .join('')}</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>`;

  /** What the bank says, what payouts are by then and afterwards, and where their money is. */
  const messages = {
    'a pain.002 that refuses': { xml: refused, from: 'submitted', to: 'failed', account: 'available' },
    'a camt.054 of debits': { xml: booked('DBIT'), from: 'submitted', to: 'paid', account: 'paid' },
    'a camt.054 of returns': { xml: booked('CRDT'), from: 'paid', to: 'returned', account: 'available' },
  };

  test.each(
    Object.keys(messages).flatMap((name) => [
      [name as keyof typeof messages, 'before the commit', false] as const,
      [name as keyof typeof messages, 'after the commit', true] as const,
    ]),
  )(
    'reads %s, %s of its second row, records each once',
    { timeout: 60_000 },
    async (name, _when, atCommit) => {
      const { xml: message, from, to, account } = messages[name];
      const { parties, ask } = await paidByFile();
      const path = '/v1/payouts/results?dry_run=false';
      const payouts = await payoutsOf(parties);
      if (from === 'paid') await ask(survivor.url, path, { xml: booked('DBIT')(payouts) });
      const states = async () => (await payoutsOf(parties)).map(({ state }) => state);
      expect(await states()).toEqual([from, from, from]);
      const xml = message(payouts);
      const attempt = randomUUID();
      await killBefore(
        'payouts',
        `new.program_id = ${parties.programId} and new.state = '${to}' and new.amount_minor = 900`,
        atCommit,
        (url) => ask(url, path, { xml, attempt }),
      );
      expect(await states()).toEqual([to, atCommit ? to : from, from]);
      const again = await ask(survivor.url, path, { xml, attempt });
      expect(again).toMatchObject({ status: 200, body: { recorded: atCommit ? 1 : 2 } });
      expect(await ask(survivor.url, path, { xml, attempt })).toEqual(again);
      expect((await ask(survivor.url, path, { xml })).body).toMatchObject({ recorded: 0 });
      expect(await states()).toEqual([to, to, to]);
      const balances = await world.ledger<{ kind: string; minor: bigint }[]>`
      select kind, sum(balance_minor)::bigint as minor from accounts
      where program_id = ${parties.programId} and affiliate_id is not null and balance_minor <> 0 group by kind`;
      expect(balances).toEqual([{ kind: account, minor: 4_200n }]);
      await expectBooksToHold();
    },
  );
});
