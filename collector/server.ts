import uWS, { type HttpRequest, type HttpResponse, type us_listen_socket } from 'uWebSockets.js';
import type { Registry } from 'prom-client';
import type { Readiness, Running } from '../core/service.ts';
import { listenError } from '../core/service.ts';

/** How long connections may take to receive their last answers when the collector stops. */
const LINGER_MS = 250;

/**
 * Listens. `stopAccepting` closes the port and leaves open connections alone; `stop` ends them too.
 * @throws OperatingError `port_unavailable`.
 */
export async function serve(options: {
  host: string;
  port: number;
  click: (response: HttpResponse, request: HttpRequest, isHead: boolean) => void;
  readiness: () => Readiness;
  metrics: Registry;
}): Promise<Running & { stopAccepting(): void }> {
  const { host, port, click, readiness, metrics } = options;
  const app = uWS.App();
  app.get('/c/:code', (response, request) => click(response, request, false));
  app.head('/c/:code', (response, request) => click(response, request, true));
  app.any('/c/:code', (response) => {
    response
      .writeStatus('405 Method Not Allowed')
      .writeHeader('Allow', 'GET, HEAD')
      .end('method: GET or HEAD\n');
  });
  app.get('/healthz', (response) => {
    response.end('ok\n');
  });
  app.get('/readyz', (response) => {
    const state = readiness();
    if (state.ready) response.end('ready\n');
    else response.writeStatus('503 Service Unavailable').end(`${state.reason}\n`);
  });
  app.get('/metrics', (response) => void sendMetrics(response, metrics));
  app.any('/*', (response) => {
    response.writeStatus('404 Not Found').end('path: not found; links are /c/{code}\n');
  });
  const socket = await listen(app, host, port);
  let accepting = true;

  function stopAccepting(): void {
    if (accepting) uWS.us_listen_socket_close(socket);
    accepting = false;
  }

  return {
    stopAccepting,
    async stop() {
      stopAccepting();
      await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
      app.close();
    },
  };
}

async function listen(app: uWS.TemplatedApp, host: string, port: number): Promise<us_listen_socket> {
  return await new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket) resolve(socket);
      else reject(listenError(new Error('in use, or not permitted'), port));
    });
  });
}

async function sendMetrics(response: HttpResponse, metrics: Registry): Promise<void> {
  let aborted = false;
  response.onAborted(() => {
    aborted = true;
  });
  const text = await metrics.metrics();
  if (!aborted) {
    response.cork(() => response.writeHeader('Content-Type', metrics.contentType).end(text));
  }
}
