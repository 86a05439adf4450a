import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `npm run mutations`: takes each constraint and trigger that carries a promise out of the schema, one at a time, and
 * runs the ledger's tests on it; one of them must turn red. The mutation is a last migration that drops the guard, so
 * nothing else differs. Takes about ten seconds each; `npm run mutations -- paid sign` runs those whose name matches.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const migration = join(root, 'ledger/migrations/9999_mutation.sql');
const TESTS = [
  'ledger/schema',
  'ledger/books',
  'ledger/conversions',
  'ledger/parties',
  'ledger/payout',
  'ledger/histories',
];
const RUN_TIMEOUT_MS = 120_000;

const trigger = (name, table) => [`trigger ${name} on ${table}`, `drop trigger ${name} on ${table}`];
const constraint = (name, table) => [`constraint ${name}`, `alter table ${table} drop constraint ${name}`];
const index = (name) => [`index ${name}`, `drop index ${name}`];

const MUTATIONS = [
  constraint('conversions_order_once', 'conversions'),
  constraint('conversions_refunded_within_amount', 'conversions'),
  constraint('refunds_ref_once', 'refunds'),
  constraint('commissions_level_once', 'commissions'),
  constraint('commissions_affiliate_once', 'commissions'),
  constraint('commissions_reversed_within', 'commissions'),
  constraint('journals_key_once', 'journals'),
  constraint('accounts_sign', 'accounts'),
  constraint('terms_no_overlap', 'terms'),
  constraint('terms_rates_within_order', 'terms'),
  constraint('payouts_provider_key_once', 'payouts'),
  index('payouts_one_open'),
  index('payout_items_commission_once'),
  index('commission_lines_earning_once'),
  trigger('parent', 'affiliates'),
  trigger('balance', 'journals'),
  trigger('apply_entries', 'entries'),
  trigger('append_only', 'entries'),
  trigger('append_only', 'journals'),
  trigger('append_only', 'commission_lines'),
  trigger('append_only', 'terms'),
  trigger('only_ends', 'terms'),
  trigger('append_only', 'payout_items'),
  trigger('only_ends', 'payout_items'),
  trigger('end_items', 'payouts'),
  trigger('total', 'payouts'),
  trigger('first_state', 'conversions'),
  trigger('state_edge', 'conversions'),
  trigger('state_edge', 'commissions'),
  trigger('state_edge', 'payouts'),
  trigger('parents', 'commissions'),
  trigger('parents', 'commission_lines'),
  trigger('stays', 'conversions'),
  trigger('stays', 'commissions'),
  trigger('stays', 'accounts'),
];

function runTests() {
  const folder = mkdtempSync('/tmp/afflux-mutation-');
  const output = join(folder, 'report.json');
  spawnSync(
    'npx',
    [
      'vitest',
      'run',
      '--bail=1',
      '--reporter=json',
      `--outputFile=${output}`,
      ...TESTS,
      '-t',
      '^(?!migrations give)',
    ],
    {
      cwd: root,
      timeout: RUN_TIMEOUT_MS,
      env: { ...process.env, AFFLUX_TEST_SEED: '1' },
    },
  );
  try {
    const report = JSON.parse(readFileSync(output, 'utf8'));
    const failed = report.testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .find(({ status }) => status === 'failed');
    return failed?.fullName ?? (report.success ? undefined : 'a file could not run');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const wanted = process.argv.slice(2);
const chosen = MUTATIONS.filter(
  ([name]) => wanted.length === 0 || wanted.some((word) => name.includes(word)),
);
let survived = 0;
try {
  rmSync(migration, { force: true });
  const red = runTests();
  if (red !== undefined) throw new Error(`the tests are red without any mutation: ${red}`);
  for (const [name, sql] of chosen) {
    writeFileSync(migration, `${sql};\n`);
    const killer = runTests();
    if (killer === undefined) survived++;
    process.stdout.write(
      `${killer === undefined ? 'SURVIVED' : 'red     '}  ${name}${killer === undefined ? '' : `: ${killer}`}\n`,
    );
  }
} finally {
  rmSync(migration, { force: true });
}
process.stdout.write(`${chosen.length - survived} of ${chosen.length} mutations turn a test red.\n`);
process.exitCode = survived === 0 ? 0 : 1;
