// Sends one request at a time for a thread that waits for it, as k6's http does: follows no redirect, keeps connections.
import { Agent, request } from 'node:http';
import { workerData } from 'node:worker_threads';

const { port, signal } = workerData;
const agent = new Agent({ keepAlive: true });

port.on('message', async (asked) => {
  port.postMessage(await send(asked).catch(() => ({ status: 0, headers: {}, body: '' })));
  Atomics.store(signal, 0, 1);
  Atomics.notify(signal, 0);
});

function send({ method, url, headers, body, timeout }) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, method, headers, timeout }, async (answer) => {
      try {
        const parts = [];
        for await (const part of answer) parts.push(part);
        const text = Buffer.concat(parts).toString('utf8');
        resolve({ status: answer.statusCode, headers: answer.headers, body: text });
      } catch (error) {
        reject(error);
      }
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end(body ?? undefined);
  });
}
