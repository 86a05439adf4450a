import type { Logger } from '../../core/service/log.ts';
import { parseTarget, type Warehouse, warehouseOf } from '../../warehouse/clickhouse/client.ts';
import { openHttpTransport } from '../../warehouse/clickhouse/http.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { openOfficialTransport } from '../../warehouse/clickhouse/official.ts';
import { table } from '../bench.ts';
import { generateClicks } from './generate.ts';
import { prepareQuestions, type Question, spread } from './questions.ts';
import { settle } from './sizes.ts';

const CALLS = 200;
const WARM_UP = 20;

/**
 * The cost of the warehouse's queries through our own transport and through the official client, by turns, in rounds: the
 * figures of docs/decisions/0002-clickhouse-client.md. Look-ups go through the official client either way.
 */
export async function compareClients(options: {
  url: string;
  rows: number;
  seed: number;
  rounds: number;
  log: Logger;
  progress: (text: string) => void;
}): Promise<void> {
  const { url, rows, seed, rounds, log, progress } = options;
  const target = parseTarget(url);
  const rest = openOfficialTransport(target, 'bench');
  const own = warehouseOf(target, { queries: openHttpTransport(target, 'bench'), rest });
  const official = warehouseOf(target, { queries: openOfficialTransport(target, 'bench'), rest });
  await migrateWarehouse({ warehouse: own, log });
  const endMs = Date.now();
  await generateClicks({ warehouse: own, rows, seed, endMs, progress: () => undefined });
  await settle(own);
  const select: Question = {
    name: 'select 1',
    ask: async (warehouse) => {
      await warehouse.query('SELECT 1 AS one');
    },
  };
  const calls = [...(await prepareQuestions(own, endMs)), select];
  for (let round = 1; round <= rounds; round++) {
    const lines: Record<string, string>[] = [];
    for (const call of calls) {
      lines.push(await compare(call, own, official));
      progress(Object.values(lines.at(-1) ?? {}).join(' '));
    }
    process.stdout.write(`round ${round}\n${table(lines)}\n\n`);
  }
  await own.close();
  await official.close();
}

/** Both clients ask the same questions, one after the other; which of them begins changes every time. */
async function compare(
  { name, ask }: Question,
  own: Warehouse,
  official: Warehouse,
): Promise<Record<string, string>> {
  const times: Record<'own' | 'official', number[]> = { own: [], official: [] };
  const clients = [
    ['own', own],
    ['official', official],
  ] as const;
  for (let i = -WARM_UP; i < CALLS; i++) {
    for (const [client, warehouse] of i % 2 === 0 ? clients : clients.toReversed()) {
      const startedAt = performance.now();
      await ask(warehouse, Math.abs(i));
      if (i >= 0) times[client].push(performance.now() - startedAt);
    }
  }
  const a = spread(times.own);
  const b = spread(times.official);
  const ratio = (x: number, y: number): string => (x / y).toFixed(3);
  return {
    call: name,
    own_p50: a.p50Ms.toFixed(1),
    official_p50: b.p50Ms.toFixed(1),
    ratio_p50: ratio(b.p50Ms, a.p50Ms),
    own_p95: a.p95Ms.toFixed(1),
    official_p95: b.p95Ms.toFixed(1),
    ratio_p95: ratio(b.p95Ms, a.p95Ms),
  };
}
