import { AggregationTemporality, InMemoryMetricExporter } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, type ReadableSpan } from '@opentelemetry/sdk-trace-base';
import fastify from 'fastify';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { loadConfig } from '../../../core/config/config.ts';
import { createLogger } from '../../../core/service/log.ts';
import { startOpenTelemetry } from '../../../core/telemetry/open-telemetry.ts';
import { waitFor } from '../../../test/support/engines.ts';
import type { ApiServer } from '../context.ts';
import { installTraces } from './request-ids.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';

/** Answers of a server that samples nothing by itself, and the spans that it sent. */
async function ask(requests: readonly { url: string; key?: boolean; flag: '00' | '01' }[], sampler: string) {
  const exporter = new InMemorySpanExporter();
  const telemetry = startOpenTelemetry({
    config: loadConfig({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_TRACES_SAMPLER: sampler,
    }),
    service: 'api',
    metrics: new Registry(),
    log: createLogger({ name: 'test', level: 'silent' }),
    exporters: { traces: exporter, metrics: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE) },
  });
  const app = fastify();
  app.decorateRequest('principal', undefined);
  installTraces(app as unknown as ApiServer, telemetry);
  app.addHook('preHandler', async (request) => {
    // Of a principal only that there is one is asked.
    if (request.headers.authorization) Object.assign(request, { principal: {} });
  });
  for (const url of ['/v1/x', '/healthz', '/portal/*']) app.get(url, async () => 'x');
  const spans: ReadableSpan[] = [];
  const traces: string[] = [];
  for (const { url, key, flag } of requests) {
    const headers = { traceparent: `00-${TRACE}-${CALLER}-${flag}`, ...(key && { authorization: 'x' }) };
    const answer = await app.inject({ url, headers });
    traces.push(String(answer.headers.traceresponse));
  }
  // The last request is always one that is sampled: what comes before it has been sent by then.
  await waitFor(() => exporter.getFinishedSpans().some((span) => span.name === 'GET /v1/x'), {
    deadlineMs: 10_000,
    what: 'a span',
  });
  spans.push(...exporter.getFinishedSpans());
  await app.close();
  await telemetry.stop();
  return { spans, traces };
}

test('a caller with a key has its requests sampled; a stranger only links to them', async () => {
  const stranger = { url: '/v1/x', flag: '01' } as const;
  const known = { url: '/v1/x', key: true, flag: '01' } as const;
  const { spans, traces } = await ask([stranger, known], 'parentbased_always_off');
  expect(traces[0]).toMatch(new RegExp(`^00-(?!${TRACE})[0-9a-f]{32}-[0-9a-f]{16}-00$`));
  expect(traces[1]).toMatch(new RegExp(`^00-${TRACE}-(?!${CALLER})[0-9a-f]{16}-01$`));
  expect(spans.map((span) => [span.spanContext().traceId, span.parentSpanContext?.spanId])).toEqual([
    [TRACE, CALLER],
  ]);
});

test('a stranger cannot keep its requests out of the traces, and health checks are never in them', async () => {
  const urls = ['/healthz', '/portal/x', '/v1/x'];
  const { spans } = await ask(
    urls.map((url) => ({ url, flag: '00' })),
    'parentbased_always_on',
  );
  expect(spans.map(({ name }) => name)).toEqual(['GET /v1/x']);
  expect(spans[0]?.spanContext().traceId).not.toBe(TRACE);
  expect(spans[0]?.parentSpanContext).toBeUndefined();
  expect(spans[0]?.links.map(({ context }) => [context.traceId, context.spanId])).toEqual([[TRACE, CALLER]]);
});
