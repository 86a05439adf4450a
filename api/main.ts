import { join } from 'node:path';
import { createClickIdCodec } from '../core/clicks/click-id.ts';
import type { Config } from '../core/config/config.ts';
import { clickhouseServer, natsServer } from '../core/config/servers.ts';
import { createNetworkMatcher } from '../core/ip.ts';
import { openCountKey } from '../core/keys/count-key.ts';
import { verifyPlatformKeys } from '../core/keys/platform-keys.ts';
import { createSecretBox } from '../core/secret-box.ts';
import type { Logger } from '../core/service/log.ts';
import { createMetrics, listenError, type Running } from '../core/service/service.ts';
import { openTelemetry } from '../core/telemetry/start.ts';
import { createPayoutProvider, paymentFolder } from '../ledger/payouts/providers/index.ts';
import { connectDatabase } from '../ledger/postgres/db.ts';
import { startTasks } from '../ledger/postgres/tasks.ts';
import { reportBrokenProjections } from '../warehouse/clickhouse/broken-projections.ts';
import { connectWarehouse } from '../warehouse/clickhouse/client.ts';
import { createStreams } from './http/streams.ts';
import { startMailWorker } from './mails/mail-worker.ts';
import { createMailer } from './mails/mailer.ts';
import { housekeepingTask } from './operations/housekeeping.ts';
import { reportTasks } from './reports/scheduled-reports.ts';
import { buildApiServer } from './server.ts';
import { startWebhookWorker } from './webhooks/webhook-worker.ts';

/** Enough to keep PostgreSQL busy on a few cores; more would only wait for each other. */
const POSTGRES_CONNECTIONS = 16;
/** Requests in flight at a stop get this long before they are cut. */
const DRAIN_TIMEOUT_MS = 8_000;
/** Queries still running after that get this long. */
const DISCONNECT_TIMEOUT_MS = 5_000;

/** Starts the HTTP API; returns when it listens. Stopping it lets requests in flight finish. */
export async function startApi({ config, log }: { config: Config; log: Logger }): Promise<Running> {
  const { clickhouseUrl, clickhouseCluster, portalUrl } = config;
  const ledger = await connectDatabase({
    url: config.databaseUrl,
    max: POSTGRES_CONNECTIONS,
    name: 'afflux-api',
    log,
  });
  await verifyPlatformKeys(ledger, [
    { kind: 'click', keys: config.clickKeys },
    { kind: 'data', keys: config.dataKeys },
  ]);
  const countKey = await openCountKey({ home: config.home, sql: ledger });
  const metrics = createMetrics();
  const warehouse = await connectWarehouse({
    ...clickhouseServer(config),
    name: 'afflux-api',
    onBrokenProjection: reportBrokenProjections({ metrics, log }),
  });
  const streams = createStreams({ ...natsServer(config), replicas: config.natsReplicas });
  const secretBox = createSecretBox(config.dataKeys);
  const reportsFolder = join(config.home, 'reports');
  const telemetry = await openTelemetry({ config, service: 'api', metrics, log });
  const app = await buildApiServer({
    ledger,
    warehouse,
    clickIds: createClickIdCodec(config.clickKeys),
    streams,
    countKey,
    trustedProxies: config.trustedProxies,
    secretBox,
    quotas: {
      requestsPerMinute: config.apiRequestsPerMinute,
      concurrentQueries: config.apiConcurrentReports,
    },
    reportsFolder,
    portalUrl,
    sendsMails: config.mailUrl !== '',
    webhookNetworks: config.webhookNetworks,
    payoutProvider: createPayoutProvider(config),
    paymentFolder: paymentFolder(config),
    stripeWebhookSecret: config.stripeWebhookSecret,
    payoutHour: config.payoutHour,
    collectorUrl: config.collectorUrl,
    clickhouse: { clickhouseUrl, clickhouseCluster, isEmbedded: config.embedded.clickhouse },
    log,
    metrics,
    telemetry,
  });
  try {
    await app.listen({ host: config.host, port: config.apiPort });
  } catch (error) {
    throw listenError(error, config.apiPort);
  }
  const tasks = startTasks({
    ledger,
    log,
    tasks: [
      housekeepingTask({ ledger, reportsFolder }),
      ...reportTasks({ portalUrl, ledger, warehouse, secretBox, log, folder: reportsFolder }),
    ],
  });
  const mails = startMailWorker({
    ledger,
    secretBox,
    mailer: createMailer({ url: config.mailUrl, from: config.mailFrom, log }),
    log,
  });
  const webhooks = startWebhookWorker({
    ledger,
    secretBox,
    telemetry,
    log,
    allowed: createNetworkMatcher(config.webhookNetworks),
  });
  log.info({ host: config.host, port: config.apiPort }, 'listening');

  return {
    async stop() {
      const cut = setTimeout(() => app.server.closeAllConnections(), DRAIN_TIMEOUT_MS);
      await app.close();
      clearTimeout(cut);
      await Promise.all([tasks.stop(), mails.stop(), webhooks.stop()]);
      await telemetry.stop();
      await Promise.all([
        ledger.end({ timeoutMs: DISCONNECT_TIMEOUT_MS }),
        warehouse.close(),
        streams.close(),
      ]);
    },
  };
}
