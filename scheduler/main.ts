import type { Config } from '../core/config/config.ts';
import { clickhouseServer } from '../core/config/servers.ts';
import { verifyPlatformKeys } from '../core/keys/platform-keys.ts';
import { createSecretBox } from '../core/secret-box.ts';
import type { Logger } from '../core/service/log.ts';
import { createMetrics, type Running, serveHealth } from '../core/service/service.ts';
import { openTelemetry } from '../core/telemetry/start.ts';
import { createPayoutProvider } from '../ledger/payouts/providers/index.ts';
import { connectDatabase } from '../ledger/postgres/db.ts';
import { startTasks } from '../ledger/postgres/tasks.ts';
import { reportBrokenProjections } from '../warehouse/clickhouse/broken-projections.ts';
import { connectWarehouse } from '../warehouse/clickhouse/client.ts';
import { hashChainTask } from './hash-chain-task.ts';
import { startMirror } from './mirror.ts';
import { moneyTasks } from './money-tasks.ts';
import { startNames } from './names.ts';
import { startPlatformMetrics } from './platform-metrics.ts';
import { settledDaysTask } from './settled-days-task.ts';

/** A task holds a connection while it works with another; of the six not all are due at one moment. The loops take one each. */
const POSTGRES_CONNECTIONS = 10;
const DISCONNECT_TIMEOUT_MS = 5_000;

/**
 * Starts the work that follows the clock: vesting, payouts, reconciliation, and the warehouse's mirrors of conversions
 * and names. Returns when it works. Several schedulers share the tasks.
 */
export async function startScheduler({ config, log }: { config: Config; log: Logger }): Promise<Running> {
  const ledger = await connectDatabase({
    url: config.databaseUrl,
    name: 'scheduler',
    max: POSTGRES_CONNECTIONS,
    log,
  });
  await verifyPlatformKeys(ledger, [{ kind: 'data', keys: config.dataKeys }]);
  const metrics = createMetrics();
  const warehouse = await connectWarehouse({
    ...clickhouseServer(config),
    name: 'scheduler',
    onBrokenProjection: reportBrokenProjections({ metrics, log }),
  });
  const telemetry = await openTelemetry({ config, service: 'scheduler', metrics, log });
  const secretBox = createSecretBox(config.dataKeys);
  const health = await serveHealth({
    host: config.metricsHost,
    port: config.schedulerPort,
    metrics,
    secretBox,
    // A task that fails is logged and tried again; this process answers no requests that depend on it.
    readiness: () => ({ ready: true }),
  });
  const loops = [
    startMirror({ ledger, warehouse, metrics, log }),
    startNames({ ledger, warehouse, log }),
    startPlatformMetrics({ ledger, warehouse, home: config.home, metrics, log }),
  ];
  const tasks = startTasks({
    ledger,
    log,
    tasks: [
      ...moneyTasks({
        ledger,
        provider: createPayoutProvider(config),
        secretBox,
        payoutHour: config.payoutHour,
        telemetry,
      }),
      hashChainTask(ledger),
      // Reports of a cluster read no numbers.
      ...(warehouse.cluster === '' ? [settledDaysTask(warehouse)] : []),
    ],
  });

  return {
    async stop() {
      await Promise.all([tasks, ...loops].map((running) => running.stop()));
      await Promise.all([health.stop(), telemetry.stop()]);
      await Promise.all([ledger.end({ timeoutMs: DISCONNECT_TIMEOUT_MS }), warehouse.close()]);
    },
  };
}
