import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { errorText } from '../../core/errors.ts';
import type { ApiServer } from './context.ts';
import type { ApiMetrics } from './metrics.ts';
import { PROBLEM_MEDIA_TYPE, PROBLEMS, Problem, type ProblemCode, problemBody } from './problems.ts';
import { translateError } from './translate-error.ts';

export type AnswerProblem = (error: unknown, request: FastifyRequest, reply: FastifyReply) => void;

/** Answers anything thrown as a problem; counts it, and logs by the table what had a cause. */
export function createProblemAnswer({ metrics }: { metrics: ApiMetrics }): AnswerProblem {
  return (error, request, reply) => {
    const problem = translateError(error);
    const { status, level } = PROBLEMS[problem.code];
    metrics.countProblem(problem.code);
    request.problem = problem;
    if (problem.cause !== undefined) {
      const cause = level === 'error' ? { err: problem.cause } : { reason: errorText(problem.cause) };
      request.log[level]({ code: problem.code, ...cause }, problem.message);
    }
    reply.code(status).headers(problem.headers).type(PROBLEM_MEDIA_TYPE);
    reply.send(JSON.stringify(problemBody(problem, request.id)));
  };
}

/** Routes every error to `answer`. To be called before any route is added. */
export function installErrorHandling(app: ApiServer, answer: AnswerProblem): void {
  const routes = recordRoutes(app);
  app.setErrorHandler(answer);
  app.setNotFoundHandler((request, reply) => {
    const methods = routes.methodsOf(pathOf(request));
    const problem =
      methods.length === 0
        ? new Problem('route_not_found', { detail: 'there is no route for this path; see /openapi.json' })
        : notAllowed(methods);
    answer(problem, request, reply);
  });
  // For a method that /v1/affiliates/invite lacks, the router finds /v1/affiliates/:id.
  app.addHook('onRequest', async (request) => {
    const path = pathOf(request);
    if (!request.is404 && request.routeOptions.url !== path && routes.isLiteral(path)) {
      throw notAllowed(routes.methodsOf(path));
    }
  });
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

function notAllowed(methods: readonly string[]): Problem {
  return new Problem('method_not_allowed', {
    detail: `this path answers ${methods.join(', ')}`,
    headers: { allow: methods.join(', ') },
  });
}

interface Routes {
  /** Of the path's own route, or of those whose parameters it fits when it has none. */
  methodsOf(path: string): string[];
  /** A route has exactly this path. */
  isLiteral(path: string): boolean;
}

/** Records the routes as they are added, to distinguish a wrong method from an unknown path. */
function recordRoutes(app: ApiServer): Routes {
  const literal = new Map<string, Set<string>>();
  const patterns: { pattern: RegExp; methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    const methods = [method].flat();
    if (/[:*]/.test(url)) {
      const pattern = url
        .replace(/[.]/g, '\\.')
        .replace(/:[a-z_]+/g, '[^/]+')
        .replace('*', '.*');
      patterns.push({ pattern: new RegExp(`^${pattern}$`), methods });
    } else {
      const known = literal.get(url) ?? new Set();
      for (const one of methods) known.add(one);
      literal.set(url, known);
    }
  });
  return {
    methodsOf(path) {
      const own = literal.get(path);
      const fitting = patterns.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods);
      return [...new Set(own ?? fitting)].sort();
    },
    isLiteral: (path) => literal.has(path),
  };
}

/** Requests that Node's parser refuses: answered on the bare socket, in the same form. */
export function createClientErrorHandler({ metrics }: { metrics: ApiMetrics }) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    if (error.code === 'ECONNRESET' || socket.destroyed) return;
    const code = clientErrorCode(error.code);
    metrics.countProblem(code);
    const { status, title } = PROBLEMS[code];
    const problem = new Problem(code, { detail: title });
    const body = JSON.stringify(problemBody(problem, ''));
    if (socket.writable) {
      socket.write(
        `HTTP/1.1 ${status} ${title}\r\nContent-Type: ${PROBLEM_MEDIA_TYPE}\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
    socket.destroy();
  };
}

function clientErrorCode(code: string | undefined): ProblemCode {
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return 'malformed_request';
}
