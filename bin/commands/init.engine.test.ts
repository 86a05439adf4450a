import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { connectOwner } from '../../ledger/postgres/db.ts';
import { waitFor } from '../../test/support/engines.ts';
import { freshLedger, type TestLedger, waitingForLocks } from '../../test/support/ledger.ts';
import { setUpByAnswers } from './init.ts';

/** Each command is a process, which takes seconds to start on a busy machine. */
const MANY_COMMANDS_MS = 180_000;

let db: TestLedger;
let home: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  db = await freshLedger({ max: 2 });
  home = mkdtempSync(join(tmpdir(), 'afflux-init-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await db?.close();
  rmSync(home, { recursive: true });
});

function start(...args: string[]): { child: ChildProcess; output: () => string } {
  const env = { PATH: process.env.PATH ?? '', AFFLUX_HOME: home, DATABASE_URL: db.appUrl };
  const child = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), ...args], { env, cwd: home });
  children.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
  return { child, output: () => text };
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

async function afflux(...args: string[]): Promise<{ code: number | null; output: string }> {
  const { child, output } = start(...args);
  await waitFor(() => hasEnded(child), { deadlineMs: 20_000, what: `afflux ${args.join(' ')}` });
  return { code: child.exitCode, output: output() };
}

const EVERYTHING = [
  'init',
  '--yes',
  ...[
    '--email',
    'Olga@Shop.example',
    '--program',
    'Café',
    '--currency',
    'eur',
    '--rate',
    '7.125',
    '--hold',
    '14',
  ],
  ...['--click-window', '60', '--minimum', '20.50', '--landing-url', 'https://shop.example/'],
  ...[
    '--allowed-hosts',
    '*.shop.example, blog.example',
    '--partner',
    'Ann’s blog',
    '--partner-email',
    'ann@blog.example',
  ],
];

const TABLES = ['users', 'programs', 'terms', 'campaigns', 'affiliates', 'links', 'audit_log'] as const;

/** How many rows each table has. */
async function rows(): Promise<Record<string, number>> {
  const counts = await Promise.all(
    TABLES.map(async (table) => {
      const [row] = await db.ledger<
        [{ count: number }]
      >`select count(*)::integer as count from ${db.ledger(table)}`;
      return [table, row.count] as const;
    }),
  );
  return Object.fromEntries(counts);
}

const ALL_MADE = { users: 1, programs: 1, terms: 1, campaigns: 1, affiliates: 1, links: 1, audit_log: 6 };
const NOTHING = Object.fromEntries(TABLES.map((table) => [table, 0]));

test('makes the first operator, program, terms, campaign, partner and link, once', async () => {
  const first = await afflux(...EVERYTHING);
  expect(first).toMatchObject({ code: 0 });
  expect(first.output.match(/^ {2}made /gm)).toHaveLength(6);
  expect(first.output).toMatch(/set-password\?token=usr_1\.\d{10}\.[\w-]{43}$/m);
  expect(first.output).toContain('missing  A source or a key by which the shop reports its orders');
  expect(await rows()).toEqual(ALL_MADE);
  expect(
    await db.ledger`
      select rate_bps::float8 as rate_bps, hold_days, cookie_days, payout_min_minor, currency from terms`,
  ).toEqual([{ rateBps: 712.5, holdDays: 14, cookieDays: 60, payoutMinMinor: 2_050n, currency: 'EUR' }]);
  expect(await db.ledger`select email, role, program_id from users`).toEqual([
    { email: 'olga@shop.example', role: 'operator', programId: null },
  ]);
  expect(
    await db.ledger`select allowed_hosts, ref_code, affiliates.status from campaigns, affiliates`,
  ).toEqual([{ allowedHosts: ['*.shop.example', 'blog.example'], refCode: 'ann-s-blog', status: 'active' }]);
  expect(await db.ledger`select distinct actor from audit_log`).toEqual([{ actor: 'command line' }]);

  const second = await afflux(...EVERYTHING);
  expect(second.output.match(/^ {2}kept /gm)).toHaveLength(6);
  expect(second.output).not.toContain('made ');
  expect(await rows()).toEqual(ALL_MADE);
});

test('two at once make nothing twice', async () => {
  const outcomes = await Promise.all([afflux(...EVERYTHING), afflux(...EVERYTHING)]);
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0]);
  expect(await rows()).toEqual(ALL_MADE);
});

test.each(TABLES)(
  'killed before it writes %s it has made nothing, and the next one makes all',
  async (table) => {
    const rival = await connectOwner({ url: db.url, name: 'rival' });
    try {
      await rival.unsafe(`begin; lock table ${table} in exclusive mode`);
      const { child, output } = start(...EVERYTHING);
      const isWaiting = async () => (await waitingForLocks(db.ledger, table)) > 0;
      await waitFor(async () => hasEnded(child) || (await isWaiting()), {
        deadlineMs: 20_000,
        what: `init to wait: ${output()}`,
      });
      child.kill('SIGKILL');
      await waitFor(() => hasEnded(child), { deadlineMs: 5_000, what: 'init to end' });
      expect(child.signalCode).toBe('SIGKILL');
    } finally {
      await rival.end({ timeoutMs: 1_000 });
    }
    await waitFor(
      async () =>
        (
          await db.ledger`
        select from pg_stat_activity where datname = current_database() and application_name = 'afflux-init'`
        ).length === 0,
      { deadlineMs: 10_000, what: 'the transaction of the killed one to end' },
    );
    expect(await rows()).toEqual(NOTHING);
    expect(await afflux(...EVERYTHING)).toMatchObject({ code: 0 });
    expect(await rows()).toEqual(ALL_MADE);
  },
);

describe('without a terminal', () => {
  const FAULTS: readonly (readonly [options: readonly string[], message: string])[] = [
    [['--program', 'Shop'], '--email: is needed'],
    [['--email', 'olga'], '--email: must be an e-mail address'],
    [['--email', 'o@x.example', '--program', 'Shop', '--currency', 'EURO'], '--currency: "EURO" is not'],
    [['--email', 'o@x.example', '--program', 'Shop', '--rate', '101'], '--rate: must be a percentage'],
    [['--email', 'o@x.example', '--program', 'Shop', '--rate', '1e1'], '--rate: must be a percentage'],
    [['--email', 'o@x.example', '--program', 'Shop', '--hold', '366'], '--hold: must be 0 to 365 days'],
    [
      ['--email', 'o@x.example', '--program', 'Shop', '--minimum', '1,5'],
      '--minimum: must be a plain decimal',
    ],
    [['--email', 'o@x.example', '--program', 'Shop', '--landing-url', 'shop'], '--landing-url: '],
    [['--email', 'o@x.example', '--campaign', 'Summer'], '--campaign: needs --landing-url'],
    [['--email', 'o@x.example', '--partner-email', 'a@x.example'], '--partner-email: needs --program'],
    [
      ['--email', 'o@x.example', '--program', 'Shop', '--partner-email', 'ann'],
      '--partner-email: must be an e-mail address',
    ],
  ];

  test('what is wrong is refused by the name of the option, and nothing is made', {
    timeout: MANY_COMMANDS_MS,
  }, async () => {
    for (const [options, message] of FAULTS) {
      const { code, output } = await afflux('init', '--yes', ...options);
      expect([code, output]).toEqual([1, expect.stringContaining(`afflux: ${message}`)]);
      expect(output).not.toContain(' at ');
      expect(await rows()).toEqual(NOTHING);
    }
  });

  test('an operator alone can be made, and the rest later', async () => {
    expect(await afflux('init', '--yes', '--email', 'olga@shop.example')).toMatchObject({ code: 0 });
    expect(await rows()).toEqual({ ...NOTHING, users: 1, audit_log: 1 });
    expect((await afflux(...EVERYTHING)).output).toContain('kept  operator  usr_1');
    expect(await rows()).toEqual(ALL_MADE);
  });

  test('what is kept contradicts no option', async () => {
    await afflux(...EVERYTHING);
    const other = await afflux(
      'init',
      '--yes',
      '--email',
      'olga@shop.example',
      '--program',
      'Café',
      '--currency',
      'JPY',
    );
    expect(other.output).toContain('--currency: of the program Café is EUR, which never changes');
    await db.ledger`insert into users (email, name, role, program_id) values ('f@x.example', 'F', 'finance', 1)`;
    const finance = await afflux('init', '--yes', '--email', 'f@x.example');
    expect(finance.output).toContain('--email: belongs to a user of the role finance');
  });
});

describe('by answers', () => {
  function terminal(answers: readonly string[]) {
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    let shown = '';
    let next = 0;
    stdout.on('data', (bytes) => {
      shown += bytes;
      if (!/: $/.test(String(bytes))) return;
      const answer = answers[next++];
      if (answer === undefined) stdin.end();
      else stdin.write(`${answer}\n`);
    });
    return { stdin, stdout, shown: () => shown };
  }

  test('asks for what no option gave, and again for what is wrong', async () => {
    const { shown, ...streams } = terminal([
      'olga',
      'Olga',
      'Shop',
      '200',
      '',
      '',
      '',
      '',
      '',
      '12.5',
      'olga@shop.example',
    ]);
    const parts = await setUpByAnswers(db.ledger, new Map([['currency', 'usd']]), streams);
    expect(parts).toMatchObject({
      operator: { isNew: true, made: { email: 'olga@shop.example', name: 'Olga' } },
      program: { isNew: true, made: { name: 'Shop', currency: 'USD' } },
      terms: { made: { rateBps: 1_250, holdDays: 30 } },
    });
    expect(parts.campaign).toBeUndefined();
    expect(shown()).toContain('--rate: must be a percentage');
    expect(shown()).toContain('--email: must be an e-mail address');
  });

  test('makes nothing when the answers end', async () => {
    const { shown, ...streams } = terminal(['olga@shop.example', 'Olga']);
    await expect(setUpByAnswers(db.ledger, new Map(), streams)).rejects.toMatchObject({ code: 'usage' });
    expect(shown()).toContain('Name of the program');
    expect(await rows()).toEqual(NOTHING);
  });
});
