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
  const allowedMethods = recordMethods(app);
  app.setErrorHandler(answer);
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = allowedMethods(path);
    const problem =
      methods.length === 0
        ? new Problem('route_not_found', { detail: 'there is no route for this path; see /openapi.json' })
        : new Problem('method_not_allowed', {
            detail: `this path answers ${methods.join(', ')}`,
            headers: { allow: methods.join(', ') },
          });
    answer(problem, request, reply);
  });
}

/** Records the routes as they are added, to distinguish a wrong method from an unknown path. */
function recordMethods(app: ApiServer): (path: string) => string[] {
  const routes: { pattern: RegExp; methods: string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replace(/[.]/g, '\\.').replace(/:[a-z_]+/g, '[^/]+')}$`);
    routes.push({ pattern, methods: [method].flat() });
  });
  return (path) => {
    const methods = routes.filter(({ pattern }) => pattern.test(path)).flatMap((route) => route.methods);
    return [...new Set(methods)].sort();
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
