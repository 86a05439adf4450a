import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import type { ApiServer, Quotas } from '../../api/http/context.ts';
import { createStreams } from '../../api/http/streams.ts';
import { buildApiServer } from '../../api/server.ts';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { createSecretBox, type SecretBox } from '../../core/secret-box.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { noTelemetry, type Telemetry } from '../../core/telemetry/telemetry.ts';
import { createApiKey, type Role } from '../../ledger/access/api-keys.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import type { OrderItem } from '../../ledger/conversions/items.ts';
import { claimMails, type Mail, readMail } from '../../ledger/integrations/mails.ts';
import type { PayoutProvider } from '../../ledger/payouts/provider.ts';
import { createBankCsvProvider } from '../../ledger/payouts/providers/bank-csv.ts';
import { connectDatabase, type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { createCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { createProgram } from '../../ledger/programs/programs.ts';
import { listTerms, setTerms } from '../../ledger/programs/terms.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { freshLedgerDatabase } from './engines.ts';
import { givePayoutMethod, recordDecision } from './ledger.ts';
import { freshWarehouse } from './warehouse.ts';

/** What the click ids of these tests are encrypted with. */
export const TEST_CLICK_KEY = Buffer.alloc(16, 7);

/** One program with everything a conversion needs, and a key of every role. */
export interface Tenant {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly otherAffiliateId: number;
  readonly linkId: number;
  readonly linkCode: string;
  readonly keys: Readonly<Record<Role, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed body, as loosely as a test wants it. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface ApiCall {
  readonly key?: string;
  readonly json?: unknown;
  readonly form?: string;
  readonly raw?: Buffer | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestApi {
  readonly app: ApiServer;
  readonly ledger: Database;
  readonly warehouse: Warehouse;
  readonly url: string;
  /** The databases as their owners open them. */
  readonly stores: { readonly books: { readonly url: string }; readonly warehouse: { readonly url: string } };
  readonly log: Logger;
  /** What the API has logged, one JSON object a line. */
  readonly telemetry: Telemetry;
  readonly logLines: readonly string[];
  readonly secretBox: SecretBox;
  /** Where the files of reports are. */
  readonly reportsFolder: string;
  /** What is to be sent, the oldest first. */
  mails(): Promise<Mail[]>;
  /** Opens no program: the operator's own people. */
  readonly operatorKey: string;
  call(method: string, path: string, call?: ApiCall): Promise<Answer>;
  /** Runs the payouts of the key's program, as its preview shows them. */
  runPayouts(key: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  tenant(name: string): Promise<Tenant>;
  stop(): Promise<void>;
}

/** Nothing listens there: what needs NATS answers 503. */
const NO_NATS = 'nats://127.0.0.1:1';

/**
 * The API on a port and databases of its own. `through` may put something between it and the databases, by URL. Without
 * `natsUrl` there is no NATS; payouts are made by a bank's file unless `providerIn` says otherwise.
 */
export async function startTestApi(
  through: (url: string) => Promise<string> = async (url) => url,
  quotas: Partial<Quotas> = {},
  natsUrl = NO_NATS,
  providerIn: (folder: string) => PayoutProvider = (folder) => createBankCsvProvider({ folder }),
): Promise<TestApi> {
  const [database, clickhouse] = await Promise.all([freshLedgerDatabase(), freshWarehouse()]);
  const ledger = await connectDatabase({ url: await through(database.appUrl), max: 8, name: 'test-api' });
  const warehouse = await connectWarehouse({ url: await through(clickhouse.url), name: 'test-api' });
  const logLines: string[] = [];
  const log = createLogger({ name: 'api', level: 'debug', write: (line) => void logLines.push(line) });
  const secretBox = createSecretBox([randomBytes(32)]);
  const folder = mkdtempSync(join(tmpdir(), 'afflux-api-'));
  const reportsFolder = join(folder, 'reports');
  const streams = createStreams({ url: natsUrl });
  const telemetry = noTelemetry('https://go.example');
  const { privateKey } = generateKeyPairSync('ed25519');
  const app = await buildApiServer({
    ledger,
    streams,
    countKey: privateKey,
    warehouse,
    clickIds: createClickIdCodec([TEST_CLICK_KEY]),
    trustedProxies: ['127.0.0.1'],
    secretBox,
    quotas: { requestsPerMinute: 1_000_000, concurrentQueries: 4, ...quotas },
    reportsFolder,
    portalUrl: 'https://portal.example',
    sendsMails: false,
    webhookNetworks: ['127.0.0.1'],
    payoutProvider: providerIn(folder),
    paymentFolder: folder,
    stripeWebhookSecret: 'whsec_test',
    payoutHour: 5,
    collectorUrl: 'https://go.example',
    clickhouse: {
      clickhouseUrl: 'http://default:secret@127.0.0.1:18123/afflux',
      clickhouseCluster: '',
      isEmbedded: true,
    },
    log,
    telemetry,
    metrics: new Registry(),
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const { key } = await createApiKey(ledger, { role: 'operator', name: 'operator' });
  return {
    app,
    ledger,
    warehouse,
    url,
    stores: { books: database, warehouse: clickhouse },
    log,
    telemetry,
    logLines,
    secretBox,
    reportsFolder,
    mails: async () =>
      (await claimMails(ledger, { limit: 1_000, claimSeconds: 0 })).map((mail) => readMail(secretBox, mail)),
    operatorKey: key,
    call: (method, path, call = {}) => callApi(url, method, path, call),
    async runPayouts(key, headers = {}) {
      const { body } = await callApi(url, 'GET', '/v1/payouts/preview', { key });
      const json = { preview: body.preview };
      return await callApi(url, 'POST', '/v1/payouts/run', { key, json, headers });
    },
    tenant: (name) => createTenant(ledger, secretBox, name),
    async stop() {
      await app.close();
      await Promise.all([ledger.end({ timeoutMs: 1_000 }), warehouse.close(), streams.close()]);
      await Promise.all([database.drop(), clickhouse.drop()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function callApi(url: string, method: string, path: string, call: ApiCall): Promise<Answer> {
  const { key, json, form, raw } = call;
  const body = json === undefined ? (form ?? raw) : JSON.stringify(json);
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...(form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
      ...call.headers,
    },
    ...(body !== undefined && { body }),
  });
  const text = await textOf(response);
  const isJson = text !== '' && (response.headers.get('content-type')?.includes('json') ?? false);
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : {} };
}

/** The body; of server-sent events, which have no end, the first one. */
async function textOf(response: Response): Promise<string> {
  if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return await response.text();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes('\n\n')) break;
  }
  return text;
}

/** A conversion of 100.00 EUR decided for a click of the affiliate, by the program's terms. */
export async function decideConversion(
  ledger: Database,
  options: {
    tenant: Tenant;
    orderId: string;
    eventName?: string;
    items?: readonly OrderItem[];
    affiliateId: number;
    outcome: 'attributed' | 'review';
    evidence?: object;
    paidOutside?: boolean;
    subs?: readonly string[];
  },
): Promise<bigint> {
  const {
    tenant,
    orderId,
    eventName,
    items,
    affiliateId,
    outcome,
    evidence = { secret: 'threshold' },
    paidOutside,
    subs = null,
  } = options;
  const { programId, campaignId } = tenant;
  const link = await createLink(ledger, { campaignId, affiliateId, landingUrl: 'https://shop.example/o' });
  const versions = (await listTerms(ledger, { programId })).filter((version) => version.affiliateId === null);
  const terms =
    versions.find((version) => version.eventName === (eventName ?? null)) ??
    versions.find((version) => version.eventName === null);
  const { conversion } = await recordConversion(ledger, {
    programId,
    orderId,
    eventName,
    items,
    amountMinor: 10_000n,
    currency: 'EUR',
    source: 'api',
    customerId: 'customer-7',
  });
  await inTransaction(ledger, (tx) =>
    recordDecision(tx, {
      conversionId: conversion.id,
      outcome,
      reason: outcome === 'review' ? 'instant_conversion' : null,
      evidence,
      termsId: terms?.id ?? null,
      paidOutside,
      now: new Date(),
      click: {
        ts: Date.now(),
        node: 1,
        seq: 1,
        ip: '192.0.2.1',
        linkId: link.id,
        campaignId,
        affiliateId,
        subs,
      },
    }),
  );
  return conversion.id;
}

async function createTenant(ledger: Database, secretBox: SecretBox, name: string): Promise<Tenant> {
  const program = await createProgram(ledger, { name, currency: 'EUR' });
  const programId = program.id;
  await setTerms(ledger, { programId, payoutMinMinor: 0n });
  const campaign = await createCampaign(ledger, { programId, name, landingUrl: 'https://shop.example/' });
  const affiliate = (refCode: string) =>
    createAffiliate(ledger, { programId, refCode, name, email: `${refCode}@example.com`, status: 'active' });
  const [first, other] = [await affiliate('first'), await affiliate('other')];
  for (const { id } of [first, other]) await givePayoutMethod(ledger, id, undefined, secretBox);
  const link = await createLink(ledger, {
    campaignId: campaign.id,
    affiliateId: first.id,
    landingUrl: 'https://shop.example/',
  });
  const key = async (role: Role): Promise<string> => {
    const affiliateId = role === 'affiliate' ? first.id : undefined;
    return (await createApiKey(ledger, { role, name: role, programId, affiliateId })).key;
  };
  return {
    programId,
    campaignId: campaign.id,
    affiliateId: first.id,
    otherAffiliateId: other.id,
    linkId: link.id,
    linkCode: link.code,
    keys: {
      operator: await key('operator'),
      finance: await key('finance'),
      fraud: await key('fraud'),
      affiliate: await key('affiliate'),
      advertiser: await key('advertiser'),
    },
  };
}
