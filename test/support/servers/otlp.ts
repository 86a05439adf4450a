import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as it was received. */
export interface ReceivedSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly links: readonly string[];
  readonly attributes: Readonly<Record<string, string | number>>;
}

/** A small receiver of OTLP over HTTP, which understands what the platform sends. */
export interface OtlpReceiver {
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** Values by name, with labels as `name{a=b}`; those of histograms are their counts. */
  readonly metrics: ReadonlyMap<string, number>;
  readonly headers: readonly IncomingHttpHeaders[];
  /** What it does with a request from now on. */
  behave(how: 'take' | 'refuse' | 'hang'): void;
  stop(): Promise<void>;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const metrics = new Map<string, number>();
  const headers: IncomingHttpHeaders[] = [];
  let behaviour: 'take' | 'refuse' | 'hang' = 'take';
  const server = createServer(async (request, response) => {
    headers.push(request.headers);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    if (behaviour === 'hang') return;
    if (behaviour === 'refuse') {
      response.writeHead(500).end();
      return;
    }
    const body = Buffer.concat(parts);
    if (request.url === '/v1/traces') spans.push(...spansIn(body));
    else if (request.url === '/v1/metrics')
      for (const [name, value] of metricsIn(body)) metrics.set(name, value);
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    metrics,
    headers,
    behave(how) {
      behaviour = how;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The fields of a protobuf message by their numbers; https://github.com/open-telemetry/opentelemetry-proto has these. */
type Message = ReadonlyMap<number, readonly (Buffer | bigint)[]>;

function read(bytes: Buffer): Message {
  const fields = new Map<number, (Buffer | bigint)[]>();
  let at = 0;
  function varint(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  function take(length: number): Buffer {
    at += length;
    return bytes.subarray(at - length, at);
  }
  while (at < bytes.length) {
    const tag = Number(varint());
    const type = tag & 7;
    const value = type === 0 ? varint() : take(type === 1 ? 8 : type === 5 ? 4 : Number(varint()));
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), value]);
  }
  return fields;
}

function bytesOf(message: Message, field: number): Buffer[] {
  return (message.get(field) ?? []).filter((value) => Buffer.isBuffer(value));
}

function messages(message: Message, field: number): Message[] {
  return bytesOf(message, field).map(read);
}

function textOf(message: Message, field: number, encoding: BufferEncoding = 'utf8'): string {
  return bytesOf(message, field)[0]?.toString(encoding) ?? '';
}

function attributesOf(message: Message, field: number): Record<string, string | number> {
  return Object.fromEntries(
    messages(message, field).map((pair) => {
      const [value = new Map()] = messages(pair, 2);
      const number = value.get(3)?.[0] ?? bytesOf(value, 4)[0]?.readDoubleLE();
      return [textOf(pair, 1), number === undefined ? textOf(value, 1) : Number(number)];
    }),
  );
}

function spansIn(body: Buffer): ReceivedSpan[] {
  return messages(read(body), 1).flatMap((ofResource) => {
    const [resource = new Map()] = messages(ofResource, 1);
    const service = String(attributesOf(resource, 1)['service.name']);
    return messages(ofResource, 2).flatMap((ofScope) =>
      messages(ofScope, 2).map((span) => ({
        service,
        name: textOf(span, 5),
        traceId: textOf(span, 1, 'hex'),
        spanId: textOf(span, 2, 'hex'),
        parentSpanId: textOf(span, 4, 'hex'),
        links: messages(span, 13).map((link) => textOf(link, 1, 'hex')),
        attributes: attributesOf(span, 9),
      })),
    );
  });
}

/** The numbers of the fields of a metric by what it is: gauge, sum, histogram. */
const DATA = [5, 7, 9];
const HISTOGRAM = 9;

function metricsIn(body: Buffer): [string, number][] {
  return messages(read(body), 1)
    .flatMap((ofResource) => messages(ofResource, 2))
    .flatMap((ofScope) => messages(ofScope, 2))
    .flatMap((metric) =>
      DATA.flatMap((kind) =>
        messages(metric, kind)
          .flatMap((data) => messages(data, 1))
          .map((point): [string, number] => {
            const labels = Object.entries(attributesOf(point, kind === HISTOGRAM ? 9 : 7));
            const shown = labels.length === 0 ? '' : `{${labels.map(([a, b]) => `${a}=${b}`).join()}}`;
            const bytes = bytesOf(point, 4)[0];
            const value =
              kind === HISTOGRAM ? Number(bytes?.readBigUInt64LE()) : Number(bytes?.readDoubleLE());
            return [textOf(metric, 1) + shown, value];
          }),
      ),
    );
}
