import { Readable } from 'node:stream';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import {
  createAgent,
  IDLE_MS,
  loginHeaders,
  MAX_CONNECTIONS,
  NoAnswer,
  successful,
  type Target,
  type Transport,
} from './transport.ts';

/** By nothing else does @clickhouse/client tell its time-out from other errors. */
const TIMEOUT_TEXT = 'Timeout error.';

/** The transport of @clickhouse/client: its connections, parameters, time-outs and streams. */
export function openOfficialTransport(target: Target, name: string): Transport {
  const client = createClient({
    url: target.origin,
    database: target.database,
    // Its own TLS settings would send the certificate as a login beside the password, which ClickHouse refuses.
    http_agent: createAgent(target),
    http_headers: loginHeaders(target),
    set_basic_auth_header: false,
    application: `afflux-${name}`,
    request_timeout: target.timeoutMs,
    max_open_connections: MAX_CONNECTIONS,
    keep_alive: { enabled: true, idle_socket_ttl: IDLE_MS },
    // Failures are thrown, and logged where they are caught.
    log: { level: ClickHouseLogLevel.OFF },
  });
  return {
    async send({ sql, params, settings, data }) {
      const asked = client.exec({
        query: sql,
        ...(params && { query_params: { ...params } }),
        ...(settings && { clickhouse_settings: { ...settings } }),
        // A stream is sent in chunks. ClickHouse takes a body cut short of its Content-Length for a whole, shorter insert
        // (ClickHouse issue 34725), but refuses a chunked body without its end.
        ...(data && { values: Readable.from(data) }),
        // Its own parsing loses the number of an error that has no text of the usual form.
        ignore_error_response: true,
      });
      const answer = await asked.catch((error) => {
        throw error instanceof Error && error.message === TIMEOUT_TEXT
          ? new NoAnswer(`no answer in ${target.timeoutMs} ms`)
          : error;
      });
      return await successful({
        headers: answer.response_headers,
        body: answer.stream,
        status: answer.http_status_code,
      });
    },
    close: () => client.close(),
  };
}
