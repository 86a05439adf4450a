import type { KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import type { Config } from '../../core/config/config.ts';
import { formatIp, parseIp } from '../../core/ip.ts';
import { createVisitorAddressReader } from '../../core/net/forwarded.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Telemetry } from '../../core/telemetry/telemetry.ts';
import type { PayoutProvider } from '../../ledger/payouts/provider.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import type { Streams } from './streams.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Work that outlasts its request: a stop waits for it. */
    inFlight: Set<Promise<unknown>>;
  }
  interface FastifyRequest {
    /** The caller's address, always one that PostgreSQL takes; null where a trusted proxy names none. */
    visitorIp: string | null;
  }
}

/** A Fastify instance whose routes are typed by their zod schemas. */
export type ApiServer = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Limits of one party: see partyOf. */
export interface Quotas {
  /** An affiliate has a tenth. */
  readonly requestsPerMinute: number;
  /** Reports and exports at a time. */
  readonly concurrentQueries: number;
}

/** What the routes work with. */
export interface ApiContext {
  readonly ledger: Database;
  readonly warehouse: Warehouse;
  /** Encrypts and signs secrets. */
  readonly secretBox: SecretBox;
  readonly clickIds: ClickIdCodec;
  /** Everything but dead letters and proofs works without NATS. */
  readonly streams: Streams;
  /** Ed25519 key of the daily counts; read, or created, at its first use. */
  readonly countKey: KeyObject;
  /** Peers whose X-Forwarded-For or Forwarded is believed: addresses or networks. */
  readonly trustedProxies: readonly string[];
  /** Private networks that webhooks are allowed to reach. */
  readonly webhookNetworks: readonly string[];
  /** Public base URL of the portal, without a slash at its end. */
  readonly portalUrl: string;
  /** Whether there is a mail server; without one mails are logged. */
  readonly sendsMails: boolean;
  readonly quotas: Quotas;
  /** Where files of reports are written. */
  readonly reportsFolder: string;
  readonly telemetry: Telemetry;
  readonly payoutProvider: PayoutProvider;
  /** Where the files of payouts are. */
  readonly paymentFolder: string;
  /** Signing secret of Stripe's notices; empty: disabled. */
  readonly stripeWebhookSecret: string;
  /** UTC, from which the scheduler runs the payouts of the day; null: they are run by hand only. */
  readonly payoutHour: number | null;
  /** Public base URL of tracking links, without a slash at its end. */
  readonly collectorUrl: string;
  /** The platform's own ClickHouse, and whether it is the embedded one. */
  readonly clickhouse: Pick<Config, 'clickhouseUrl' | 'clickhouseCluster'> & { readonly isEmbedded: boolean };
}

/** In the place of Fastify's own `ip`, which passes on whatever text a proxy sent. */
export function installVisitorAddress(
  app: ApiServer,
  { trustedProxies }: Pick<ApiContext, 'trustedProxies'>,
): void {
  const visitorAddress = createVisitorAddressReader(trustedProxies);
  app.decorateRequest('visitorIp', null);
  app.addHook('onRequest', async (request) => {
    const peer = parseIp(request.socket.remoteAddress ?? '');
    const address =
      peer &&
      visitorAddress([peer], () => ({
        xForwardedFor: linesOf(request.raw, 'x-forwarded-for'),
        forwarded: linesOf(request.raw, 'forwarded'),
      }));
    request.visitorIp = address ? formatIp(address) : null;
  });
}

/** The values of a header, one for each of its lines. */
function linesOf({ rawHeaders }: IncomingMessage, header: string): string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === header);
}
