import { readFileSync } from 'node:fs';
import autocannon from 'autocannon';
import type { LoadRequest } from './load.ts';

/** `node autocannon.js REQUESTS.json URL CONNECTIONS SECONDS`: load where there is no wrk; prints what load.ts reads. */
const [file = '', url = '', connections, seconds] = process.argv.slice(2);
const requests = JSON.parse(readFileSync(file, 'utf8')) as LoadRequest[];
const result = await autocannon({
  url,
  connections: Number(connections),
  duration: Number(seconds),
  // Each connection walks the list from its start; they would all ask the same without a start of their own.
  setupClient(client) {
    const start = Math.floor(Math.random() * requests.length);
    client.setRequests([...requests.slice(start, start + 1_000), ...requests.slice(0, 10)]);
  },
});
const { total } = result.requests;
const failed = result.errors + result.timeouts + result['4xx'] + result['5xx'];
console.log(
  `RESULT ${total} ${Math.round(result.duration * 1_000_000)} ${result.latency.p50 * 1_000} ${result.latency.p99 * 1_000} ${result.latency.p99_9 * 1_000} ${result.latency.max * 1_000} ${failed}`,
);
