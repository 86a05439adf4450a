import type { FastifyReply, FastifyRequest } from 'fastify';
import { errorText } from '../../core/errors.ts';
import type { ApiServer } from './context.ts';
import type { ApiMetrics } from './metrics.ts';
import { PROBLEM_MEDIA_TYPE, PROBLEMS, Problem, problemBody } from './problems.ts';
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
    const detail = 'there is no route for this path; see /openapi.json';
    answer(new Problem('route_not_found', { detail }), request, reply);
  });
  // Before a body is read, which a wrong method may have in any form.
  app.addHook('onRequest', async (request) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const { url } = request.routeOptions;
    // For a method that /v1/affiliates/invite lacks, the router finds /v1/affiliates/:id.
    if (!request.is404 && (url === path || !routes.isLiteral(path))) return;
    const methods = routes.methodsOf(path);
    if (methods.length > 0) throw notAllowed(methods);
  });
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
