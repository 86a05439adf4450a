import { fromProject } from '../../core/config/paths.ts';
import { type BenchRow, RESULTS_FOLDER, report } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { above0, optional, readOptions, text, whole } from '../options.ts';
import { openOwnNetwork, rerunInOwnNetwork } from './network.ts';
import { total } from './refusals.ts';
import { type ChaosResult, runChaos } from './run.ts';

/**
 * `npm run chaos -- --minutes 20 --seed 7 --workers 2`: the whole platform under load while its processes and engines are killed,
 * stopped and starved of disk; then what the clients received is compared with the stores. Exit code 1 when
 * a goal is missed: anything is lost, counted twice or off by a cent, or too many visits had no redirect.
 */

const { values } = readOptions({
  minutes: above0(2),
  seed: whole(1, 0),
  workers: optional(whole(1)),
  results: text(fromProject(RESULTS_FOLDER)),
});
const { minutes, seed, workers } = values;

const code = await rerunInOwnNetwork();
if (code === undefined) await carryOut(main);
process.exitCode = code;

/** The run itself. */
async function main(run: Run): Promise<void> {
  const result = await runChaos({
    minutes,
    seed,
    workers,
    network: openOwnNetwork(),
    say: (line) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`),
    run,
  });
  report({
    name: 'chaos',
    script: 'chaos',
    versions: {},
    rows: rowsOf(result),
    targets: result.targets,
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
  process.exitCode = result.ok ? 0 : 1;
}

function rowsOf(result: ChaosResult): BenchRow[] {
  const {
    faults,
    missedFaults,
    clicks,
    refusals,
    refusedBeyondKills,
    waitsMs,
    orders,
    money,
    recoverySeconds,
  } = result;
  const row = (what: string, count: number): BenchRow => ({ what, count });
  return [
    ...[...faults].toSorted().map(([kind, count]) => row(kind, count)),
    row('faults whose process was just down', missedFaults),
    row('clicks sent', clicks.requests),
    row('redirects received', clicks.received),
    row('no redirect, outside of kills of collectors', refusedBeyondKills),
    ...[...refusals]
      .toSorted(([, a], [, b]) => total(b) - total(a))
      .map(([cause, hows]) => ({
        ...row(`no redirect: ${cause}`, total(hows)),
        saw: [...hows].map(([how, count]) => `${how} ${count}`).join(', '),
      })),
    row('milliseconds to the redirect, p50', waitsMs.p50),
    row('milliseconds to the redirect, p99', waitsMs.p99),
    row('milliseconds to the redirect, longest', waitsMs.longest),
    row('clicks stored', clicks.stored),
    row('orders sent', orders.sent),
    row('orders accepted', orders.accepted),
    row('orders recorded', orders.recorded),
    row('commissions due, minor units', Number(money.expectedMinor)),
    row('paid out, minor units', Number(money.paidMinor)),
    row('seconds to recover', recoverySeconds),
  ];
}
