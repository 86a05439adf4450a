import swagger from '@fastify/swagger';
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify';
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Registry } from 'prom-client';
import { strictTransport } from '../core/hsts.ts';
import { createNetworkMatcher } from '../core/ip.ts';
import type { Logger } from '../core/service/log.ts';
import { MAX_REFERENCE_LENGTH } from '../core/text-limits.ts';
import { installAuthentication } from './auth/authentication.ts';
import { addApiKeyRoutes } from './auth/routes/api-keys.ts';
import { addMeRoute } from './auth/routes/me.ts';
import { addPasswordRoutes } from './auth/routes/passwords.ts';
import { addSecondFactorRoutes } from './auth/routes/second-factor.ts';
import { addSessionRoutes } from './auth/routes/session.ts';
import { addOwnSessionsRoutes } from './auth/routes/sessions.ts';
import { addUserRoutes } from './auth/routes/users.ts';
import { addAttributeRoute } from './conversions/routes/attribute.ts';
import { addCommissionRoutes } from './conversions/routes/commissions.ts';
import { addConversionRoutes } from './conversions/routes/conversions.ts';
import { addCustomerRoutes } from './conversions/routes/customers.ts';
import { addExplanationRoute } from './conversions/routes/explanations.ts';
import { addReviewRoutes } from './conversions/routes/reviews.ts';
import { addFraudRoutes } from './fraud/fraud-routes.ts';
import { installJsonBodies, MAX_BODY_BYTES, parseForm } from './http/bodies.ts';
import { type ApiContext, type ApiServer, installVisitorAddress } from './http/context.ts';
import { createProblemAnswer, installErrorHandling } from './http/errors.ts';
import { type ApiMetrics, createApiMetrics } from './http/metrics.ts';
import { type CountFailure, createFailureCounts, installQuotas } from './http/quotas.ts';
import { compileValidator } from './http/validation.ts';
import { createClientErrorHandler } from './http/wire/client-errors.ts';
import { installCompression, installDecoding } from './http/wire/encodings.ts';
import { installTraces, requestIdFor, requestLogger } from './http/wire/request-ids.ts';
import { addAdjustmentRoutes } from './money/routes/adjustments.ts';
import { addEarningsRoutes } from './money/routes/earnings.ts';
import { addPaymentFileRoutes } from './money/routes/payment-files.ts';
import { addPaymentResultRoute } from './money/routes/payment-results.ts';
import { addPayoutRunRoutes } from './money/routes/payout-runs.ts';
import { addPayoutRoutes } from './money/routes/payouts.ts';
import { addProviderNoticeRoutes } from './money/routes/provider-notices.ts';
import { addStatementDocumentRoutes } from './money/routes/statement-documents.ts';
import { addStatementRoutes } from './money/routes/statements.ts';
import { addUpcomingPayoutRoutes } from './money/routes/upcoming-payouts.ts';
import { completeSchema, swaggerOptions } from './openapi/openapi.ts';
import { addAuditRoutes } from './operations/routes/audit.ts';
import { addAuditLogRoutes } from './operations/routes/audit-log.ts';
import { addDeadLetterRoutes } from './operations/routes/dead-letters.ts';
import { addDocsRoutes } from './operations/routes/docs.ts';
import { addPortalRoutes } from './operations/routes/portal.ts';
import { addSystemRoutes } from './operations/routes/system.ts';
import { installCallLog } from './orders/call-log.ts';
import { createIntake } from './orders/intake.ts';
import { addOrderAmountsRoute } from './orders/routes/order-amounts.ts';
import { addOrderBatchRoute } from './orders/routes/order-batches.ts';
import { addOrderChangeRoutes } from './orders/routes/order-changes.ts';
import { addOrderRoutes } from './orders/routes/orders.ts';
import { addPixelRoute } from './orders/routes/pixel.ts';
import { addPostbackSettingsRoutes } from './orders/routes/postback-settings.ts';
import { addPostbackTestRoute } from './orders/routes/postback-test.ts';
import { addPostbackRoutes } from './orders/routes/postbacks.ts';
import { addRefundRoutes } from './orders/routes/refunds.ts';
import { addUnidentifiedCallRoute } from './orders/routes/unidentified-calls.ts';
import { createShopClocks } from './orders/shop-clocks.ts';
import { createShopSettings } from './orders/shop-settings.ts';
import { createStrangerCalls } from './orders/stranger-calls.ts';
import { addApplicationRoutes } from './partners/routes/applications.ts';
import { addMailTemplateRoutes } from './partners/routes/mail-templates.ts';
import { addOrderMessageRoutes } from './partners/routes/order-messages.ts';
import { addSignUpRoutes } from './partners/routes/sign-up.ts';
import { addSignUpSettingsRoutes } from './partners/routes/sign-up-settings.ts';
import { addAffiliateEndRoutes } from './programs/routes/affiliate-ends.ts';
import { addAffiliateProfileRoutes } from './programs/routes/affiliate-profile.ts';
import { addAffiliateStatusRoutes } from './programs/routes/affiliate-status.ts';
import { addAffiliateTreeRoutes } from './programs/routes/affiliate-tree.ts';
import { addAffiliateRoutes } from './programs/routes/affiliates.ts';
import { addCampaignRoutes } from './programs/routes/campaigns.ts';
import { addCouponRoutes } from './programs/routes/coupons.ts';
import { addLinkToolRoutes } from './programs/routes/link-tools.ts';
import { addLinkRoutes } from './programs/routes/links.ts';
import { addProgramRoutes } from './programs/routes/programs.ts';
import { addTaxDataRoutes } from './programs/routes/tax-data.ts';
import { addTermsRoutes } from './programs/routes/terms.ts';
import { addFreshnessRoutes } from './reports/routes/freshness.ts';
import { addJobRoutes } from './reports/routes/jobs.ts';
import { addReportRoutes } from './reports/routes/reports.ts';
import { addSavedReportRoutes } from './reports/routes/saved-reports.ts';
import { addFirstSetupRoute } from './setup/routes/first-setup.ts';
import { addSetupStepsRoute } from './setup/routes/setup-steps.ts';
import { createReceiver } from './sources/receiver.ts';
import { addIncomingRoutes } from './sources/routes/incoming.ts';
import { addKindRoutes } from './sources/routes/kinds.ts';
import { addPostbackCallRoutes } from './sources/routes/postback-calls.ts';
import { addSourceCallRoutes } from './sources/routes/source-calls.ts';
import { addSourceRoutes } from './sources/routes/sources.ts';
import { startWaitingCalls } from './sources/waiting-calls.ts';
import { addWebhookDeliveryRoutes } from './webhooks/routes/webhook-deliveries.ts';
import { addWebhookRoutes } from './webhooks/routes/webhooks.ts';

/** A caller that takes longer to send a request is stuck or hostile. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Longest value in a path: an id of the shop, of which a character takes up to two units of UTF-16. */
const MAX_PARAM_LENGTH = 2 * MAX_REFERENCE_LENGTH;

/** JSON and problems are never pages: a browser that is led here must not run or frame anything. */
const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

function headersOf(publicUrl: string): Readonly<Record<string, string>> {
  const transport = strictTransport(publicUrl);
  return { ...SECURITY_HEADERS, ...(transport && { 'strict-transport-security': transport }) };
}

export interface ApiServerOptions extends ApiContext {
  readonly log: Logger;
  readonly metrics: Registry;
}

/** Builds the API over connected stores; the caller listens and closes. */
export async function buildApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const metrics = createApiMetrics(options.metrics);
  const answer = createProblemAnswer({ metrics });
  const app: ApiServer = Fastify({
    loggerInstance: options.log as FastifyBaseLogger,
    // Fastify's own lines show URLs; installObservation writes one that does not.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestIdFor,
    childLoggerFactory: requestLogger,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { querystringParser: parseForm, maxParamLength: MAX_PARAM_LENGTH },
    clientErrorHandler: createClientErrorHandler({ metrics, inject: (request) => app.inject(request) }),
    frameworkErrors: answer,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(compileValidator);
  app.setSerializerCompiler(serializerCompiler);
  installTraces(app, options.telemetry);
  installVisitorAddress(app, options);
  app.decorate('inFlight', new Set<Promise<unknown>>());
  app.addHook('onClose', async () => void (await Promise.allSettled(app.inFlight)));
  installObservation(app, { metrics, headers: headersOf(options.portalUrl) });
  installErrorHandling(app, answer);
  installDecoding(app);
  installJsonBodies(app);
  installCallLog(app, { ...options, strangers: createStrangerCalls(options) });
  const countFailure = createFailureCounts(options.quotas);
  installAuthentication(app, { ...options, countFailure });
  installQuotas(app, options.quotas);
  installCompression(app);
  app.addHook('onRoute', completeSchema);
  await app.register(swagger, swaggerOptions(options));
  addRoutes(app, { ...options, countFailure });
  await app.ready();
  return app;
}

function addRoutes(app: ApiServer, options: ApiServerOptions & { countFailure: CountFailure }): void {
  const { ledger, clickIds, log, metrics } = options;
  const shopClocks = createShopClocks({ registry: metrics, log });
  const shops = {
    ...options,
    shopClocks,
    intake: createIntake({ ledger, clickIds, shopClocks }),
    shopSettings: createShopSettings({ ledger }),
  };
  const sources = { ...shops, receiver: createReceiver(shops) };
  const waitingCalls = startWaitingCalls(sources);
  app.addHook('onClose', () => waitingCalls.stop());
  addAuditLogRoutes(app, options);
  addSystemRoutes(app, options);
  addMeRoute(app);
  addOrderRoutes(app, shops);
  addOrderAmountsRoute(app, options);
  addOrderChangeRoutes(app, shops);
  addOrderBatchRoute(app, shops);
  addPostbackRoutes(app, shops);
  addPixelRoute(app, shops);
  addPostbackCallRoutes(app, sources);
  addIncomingRoutes(app, sources);
  addSourceRoutes(app, options);
  addKindRoutes(app, options);
  addSourceCallRoutes(app, sources);
  addUnidentifiedCallRoute(app, options);
  addPostbackTestRoute(app, shops);
  addPostbackSettingsRoutes(app, options);
  addRefundRoutes(app, shops);
  addProgramRoutes(app, options);
  addCampaignRoutes(app, options);
  addAffiliateRoutes(app, options);
  addTermsRoutes(app, options);
  addLinkRoutes(app, options);
  addCouponRoutes(app, options);
  addApiKeyRoutes(app, options);
  addConversionRoutes(app, options);
  addExplanationRoute(app, options);
  addReviewRoutes(app, options);
  addAttributeRoute(app, options);
  addCustomerRoutes(app, options);
  addCommissionRoutes(app, options);
  addPayoutRoutes(app, options);
  addAdjustmentRoutes(app, options);
  addPayoutRunRoutes(app, options);
  addPaymentResultRoute(app, options);
  addPaymentFileRoutes(app, options);
  addAuditRoutes(app, options);
  addDeadLetterRoutes(app, options);
  addFreshnessRoutes(app, options);
  addProviderNoticeRoutes(app, options);
  addReportRoutes(app, { ...options, folder: options.reportsFolder });
  addSavedReportRoutes(app, options);
  addDocsRoutes(app);
  addPortalRoutes(app, options);
  addFirstSetupRoute(app, options);
  addSetupStepsRoute(app, options);
  addLinkToolRoutes(app, options);
  addAffiliateStatusRoutes(app, options);
  addAffiliateEndRoutes(app, options);
  addSignUpRoutes(app, options);
  addSignUpSettingsRoutes(app, options);
  addApplicationRoutes(app, options);
  addMailTemplateRoutes(app, options);
  addOrderMessageRoutes(app, options);
  addAffiliateTreeRoutes(app, options);
  addAffiliateProfileRoutes(app, options);
  addTaxDataRoutes(app, options);
  addUpcomingPayoutRoutes(app, options);
  addStatementRoutes(app, options);
  addStatementDocumentRoutes(app, options);
  addEarningsRoutes(app, options);
  addFraudRoutes(app, options);
  addJobRoutes(app, options);
  addSessionRoutes(app, options);
  addOwnSessionsRoutes(app, options);
  addSecondFactorRoutes(app, options);
  addPasswordRoutes(app, options);
  addUserRoutes(app, options);
  addWebhookRoutes(app, { ...options, allowed: createNetworkMatcher(options.webhookNetworks) });
  addWebhookDeliveryRoutes(app, options);
}

/**
 * Headers, duration and one log line for every request. The line names the route and not the URL, whose path and
 * query can hold keys, click ids and customers.
 */
function installObservation(
  app: ApiServer,
  { metrics, headers }: { metrics: ApiMetrics; headers: Readonly<Record<string, string>> },
): void {
  let stopping = false;
  app.addHook('preClose', async () => {
    stopping = true;
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(headers);
  });
  app.addHook('onSend', async (_request, reply) => {
    // A connection kept alive would hold the stop up until its client drops it.
    if (stopping) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.is404 ? 'unknown' : (request.routeOptions.url ?? 'unknown');
    const { method } = request;
    const { statusCode: status, elapsedTime: ms } = reply;
    metrics.observe({ method, route, status, seconds: ms / 1_000 });
    const actor = request.principal?.actor;
    const line = { method, route, status, ms: Math.round(ms * 10) / 10, actor };
    // What went well is in the metrics; a line each would bury what did not.
    if (status < 400) request.log.debug(line, 'request');
    else request.log.info(line, 'request');
  });
}
