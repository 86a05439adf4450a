import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from 'uWebSockets.js';
import type { Registry } from 'prom-client';
import type { SecretBox } from '../../core/secret-box.ts';
import { METRICS_REFUSAL, mayReadMetrics } from '../../core/service/metrics-access.ts';
import type { Readiness, Running } from '../../core/service/service.ts';
import { listenError, readinessText } from '../../core/service/service.ts';
import type { Uws } from '../../core/uws/uws.ts';

/** The last answers have this long to reach their clients before the connections are closed. */
const LAST_ANSWERS_MS = 250;

/** Answers a GET or HEAD request, at once or later; the request is gone when it returns. */
export type Handler = (response: HttpResponse, request: HttpRequest, isHead: boolean) => void;

/**
 * Listens. `stopAccepting` closes the port and leaves open connections alone; `stop` ends them too.
 * @throws OperatingError `port_unavailable`.
 */
export async function serve(options: {
  uws: Uws;
  host: string;
  port: number;
  click: Handler;
  impression: Handler;
  snippet: Handler;
  readiness: () => Readiness;
  metrics: Registry;
  secretBox: SecretBox;
}): Promise<Running & { stopAccepting(): void; isClosing(): boolean }> {
  const { uws, host, port, readiness, metrics, secretBox } = options;
  const app = uws.App();
  const routes = { '/c/:code': options.click, '/i/:file': options.impression, '/afflux.js': options.snippet };
  for (const [path, handle] of Object.entries(routes)) {
    app.get(path, (response, request) => handle(response, request, false));
    app.head(path, (response, request) => handle(response, request, true));
    app.any(path, refuseMethod);
  }
  const probes: Readonly<Record<string, Handler>> = {
    '/healthz': (response, _, isHead) => finish(response, 'ok\n', isHead),
    '/readyz': (response, _, isHead) => {
      const state = readiness();
      if (!state.ready) response.writeStatus('503 Service Unavailable');
      finish(response, readinessText(state), isHead);
    },
    '/metrics': (response, request, isHead) => {
      if (mayReadMetrics(secretBox, request.getHeader('authorization'))) {
        void sendMetrics(response, metrics, isHead);
      } else refuseMetrics(response, isHead);
    },
  };
  for (const [path, answer] of Object.entries(probes)) {
    app.get(path, (response, request) => answer(response, request, false));
    app.head(path, (response, request) => answer(response, request, true));
  }
  // Links are followed in spellings that no route has, and other addresses of a tracking domain lead to its fallback.
  app.get('/*', (response, request) => options.click(response, request, false));
  app.head('/*', (response, request) => options.click(response, request, true));
  app.any('/*', refuseMethod);
  const socket = await listen(app, host, port);
  let accepting = true;

  function stopAccepting(): void {
    if (accepting) uws.us_listen_socket_close(socket);
    accepting = false;
  }

  return {
    stopAccepting,
    isClosing: () => !accepting,
    async stop() {
      stopAccepting();
      await new Promise((resolve) => setTimeout(resolve, LAST_ANSWERS_MS));
      app.close();
    },
  };
}

function refuseMethod(response: HttpResponse): void {
  response
    .writeStatus('405 Method Not Allowed')
    .writeHeader('Allow', 'GET, HEAD')
    .writeHeader('Cache-Control', 'no-store')
    .end('method: GET or HEAD\n');
}

/** Ends an answer; one to HEAD says the length of the text and leaves it out. */
function finish(response: HttpResponse, text: string, isHead: boolean): void {
  if (isHead) response.endWithoutBody(Buffer.byteLength(text));
  else response.end(text);
}

function refuseMetrics(response: HttpResponse, isHead: boolean): void {
  response.writeStatus(`${METRICS_REFUSAL.status} Unauthorized`);
  for (const [name, value] of Object.entries(METRICS_REFUSAL.headers)) response.writeHeader(name, value);
  finish(response, `metrics: ${METRICS_REFUSAL.text}\n`, isHead);
}

async function listen(app: TemplatedApp, host: string, port: number): Promise<us_listen_socket> {
  return await new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket) resolve(socket);
      else reject(listenError(new Error('in use, or not permitted'), port));
    });
  });
}

async function sendMetrics(response: HttpResponse, metrics: Registry, isHead: boolean): Promise<void> {
  let aborted = false;
  response.onAborted(() => {
    aborted = true;
  });
  const text = await metrics.metrics();
  if (!aborted) {
    response.cork(() => {
      response.writeHeader('Content-Type', metrics.contentType);
      finish(response, text, isHead);
    });
  }
}
