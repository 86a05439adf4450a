import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fromProject } from '../../../core/config/paths.ts';
import { listUsers } from '../../../ledger/access/users.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { hasOperator } from '../../../ledger/setup/first-setup.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { Problem } from '../../http/problems.ts';
import { takesGzip } from '../../http/wire/encodings.ts';

/** The portal as set-up has built it: a page and its files, held in memory. */

const FOLDER = fromProject('dist/portal');
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** It runs its own script and styles, and speaks to this server only. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/** Built files carry a hash of what is in them in their names. */
const FOR_EVER = 'public, max-age=31536000, immutable';

interface PortalFile {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly gzipped: Buffer;
  readonly cacheControl: string;
}

/** Of a page that was there for the first operator only. */
const SET_UP_PAGE = `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8" /><meta name="viewport" content="width=device-width" /><title>Afflux</title></head>
  <body><h1>This platform is set up</h1><p><a href="/portal/">Sign in</a></p></body>
</html>
`;

export function addPortalRoutes(app: ApiServer, { ledger }: Pick<ApiContext, 'ledger'>): void {
  const files = readFiles();
  const firstUse = createFirstUse(ledger);
  const hidden = { config: { roles: 'public' }, schema: { hide: true } } as const;

  function send(request: FastifyRequest, reply: FastifyReply, file: PortalFile | undefined) {
    if (!file) throw new Problem('route_not_found', { detail: 'there is no such file of the portal' });
    reply
      .header('content-security-policy', POLICY)
      .header('cache-control', file.cacheControl)
      .header('vary', 'accept-encoding')
      .header('etag', file.etag);
    if (request.headers['if-none-match'] === file.etag) return reply.code(304).send();
    reply.type(file.type);
    if (!takesGzip(request)) return reply.send(file.plain);
    return reply.header('content-encoding', 'gzip').send(file.gzipped);
  }

  app.get('/', hidden, async (_request, reply) => reply.redirect('/portal/'));
  app.get('/portal', hidden, async (_request, reply) => reply.redirect('/portal/'));
  // Mails lead here.
  app.get('/set-password', hidden, async (request, reply) => reply.redirect(`/portal${request.url}`));
  app.get('/portal/*', hidden, async (request, reply) => {
    const path = (request.params as { '*': string })['*'];
    if (path === '' && (await firstUse.hasNoUsers(request))) return reply.redirect('/portal/setup');
    if (path === 'setup' && (await firstUse.isOver(request))) {
      return reply.code(404).type('text/html; charset=utf-8').send(SET_UP_PAGE);
    }
    // Pages are the portal's own business: whatever is no file is its one page.
    return send(
      request,
      reply,
      files.get(path) ?? (extname(path) === '' ? files.get('index.html') : undefined),
    );
  });
}

/** Whether the platform is still to be set up; what is over stays over, and is not asked for again. */
function createFirstUse(ledger: Database) {
  let hasUsers = false;
  let isSetUp = false;
  /** Without PostgreSQL the portal is served as ever: its page says what does not answer. */
  function unknown(request: FastifyRequest, error: unknown): true {
    request.log.warn({ err: error }, 'cannot read whether the platform is set up');
    return true;
  }
  return {
    async hasNoUsers(request: FastifyRequest): Promise<boolean> {
      if (!hasUsers) {
        const read = listUsers(ledger, { limit: 1 }).then(({ rows }) => rows.length > 0);
        hasUsers = await read.catch((error: unknown) => unknown(request, error));
      }
      return !hasUsers;
    },
    async isOver(request: FastifyRequest): Promise<boolean> {
      isSetUp ||= await hasOperator(ledger).catch((error: unknown) => unknown(request, error));
      return isSetUp;
    },
  };
}

function readFiles(): ReadonlyMap<string, PortalFile> {
  const files = new Map<string, PortalFile>();
  if (!existsSync(FOLDER)) return files;
  for (const entry of readdirSync(FOLDER, { recursive: true, withFileTypes: true })) {
    const type = MEDIA_TYPES[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const path = join(entry.parentPath, entry.name);
    const plain = readFileSync(path);
    files.set(relative(FOLDER, path).split(sep).join('/'), {
      type,
      etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`,
      plain,
      gzipped: gzipSync(plain, { level: 9 }),
      cacheControl: entry.name === 'index.html' ? 'no-cache' : FOR_EVER,
    });
  }
  return files;
}
