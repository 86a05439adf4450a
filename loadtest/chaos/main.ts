import { parseArgs } from 'node:util';
import { fromProject } from '../../core/config/paths.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, RESULTS_FOLDER, report } from '../bench.ts';
import { openOwnNetwork, rerunInOwnNetwork } from './network.ts';
import { type ChaosResult, runChaos } from './run.ts';

/**
 * `npm run chaos -- --minutes 20 --seed 7`: the whole platform under load while its processes and engines are killed,
 * stopped and starved of disk; then what the clients received is compared with the stores. Exit code 1 when
 * anything is lost, counted twice or off by a cent.
 */

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    results: { type: 'string', default: fromProject(RESULTS_FOLDER) },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  throw new Error('--minutes must be above 0 and --seed a whole number');
}

process.exitCode = (await rerunInOwnNetwork()) ?? (await run());

/** The run itself; returns the exit code. */
async function run(): Promise<number> {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort());

  const result = await runChaos({
    minutes,
    seed,
    network: openOwnNetwork(),
    say: (line) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`),
    signal: interrupted.signal,
  });
  report({
    name: 'chaos',
    script: 'chaos',
    versions: {},
    rows: rowsOf(result),
    targets: targetsOf(result),
    folder: values.results,
  });
  const { clicks, orders, notRecovered, auditFaults, strange } = result;
  const remarks = [
    ...clicks.examples,
    ...orders.examples,
    ...notRecovered.map((what) => `not in time: ${what}`),
    ...auditFaults,
    ...strange,
  ];
  for (const remark of remarks) process.stdout.write(`${remark}\n`);
  return result.ok ? 0 : 1;
}

function rowsOf({ faults, missedFaults, clicks, orders, money, recoverySeconds }: ChaosResult): BenchRow[] {
  const row = (what: string, count: number): BenchRow => ({ what, count });
  return [
    ...[...faults].toSorted().map(([kind, count]) => row(kind, count)),
    row('faults whose process was just down', missedFaults),
    row('clicks sent', clicks.requests),
    row('redirects received', clicks.received),
    row('clicks stored', clicks.stored),
    row('orders sent', orders.sent),
    row('orders accepted', orders.accepted),
    row('orders recorded', orders.recorded),
    row('commissions due, minor units', Number(money.expectedMinor)),
    row('paid out, minor units', Number(money.paidMinor)),
    row('seconds to recover', recoverySeconds),
  ];
}

function targetsOf({
  clicks,
  orders,
  money,
  notRecovered,
  auditFaults,
  strange,
}: ChaosResult): BenchTarget[] {
  const none = (name: string, count: number): BenchTarget => atMost(name, count, 0);
  return [
    atLeast('redirects received', clicks.received, 1),
    atLeast('orders accepted', orders.accepted, 1),
    none('redirected clicks lost', clicks.lost),
    none('clicks stored twice', clicks.duplicated),
    none('clicks stored under another identity, or never requested', clicks.foreign),
    none('accepted orders lost', orders.lost),
    none('orders recorded twice, or never sent', orders.duplicated),
    none('orders undecided', orders.undecided),
    none('orders recorded or decided wrongly', orders.wrong),
    none('commissions off, minor units', Number(money.commissionDifferenceMinor)),
    none('payments off, minor units', Number(money.payoutDifferenceMinor)),
    none('payments made twice', money.paymentsTwice),
    none('checks of afflux audit that fail', auditFaults.length),
    none('parts that did not recover in time', notRecovered.length),
    none('answers that no fault explains', strange.length),
  ];
}
