import { createHash, randomUUID } from 'node:crypto';
import fastify from 'fastify';
import pg from 'pg';

/**
 * `node conventional-server.js PORT DATABASE_URL awaited|not-awaited`: the conventional design over the tables of conventional-schema.ts.
 * Each click is looked up and inserted on a pool, two round trips; `not-awaited` redirects without waiting for the
 * second.
 */
const [port, connectionString, mode] = process.argv.slice(2);
const POOL_SIZE = 20;

const pool = new pg.Pool({ connectionString, max: POOL_SIZE });
const app = fastify();
app.get<{ Params: { code: string } }>('/c/:code', async (request, reply) => {
  const { rows } = await pool.query(
    `select a.id as affiliate_id, l.id as link_id, l.landing_url from affiliates a
     join affiliate_links l on l.affiliate_id = a.id where a.ref_code = $1 and a.status = 'active'`,
    [request.params.code],
  );
  const [link] = rows;
  if (!link) return await reply.code(404).send();
  const id = randomUUID();
  const userAgent = request.headers['user-agent'] ?? '';
  const fingerprint = createHash('sha256')
    .update(`${userAgent}:${request.headers['accept-language'] ?? ''}`)
    .digest('hex')
    .slice(0, 32);
  const inserted = pool.query(
    `insert into affiliate_clicks (id, affiliate_id, link_id, ip, user_agent, referrer, fingerprint)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [id, link.affiliate_id, link.link_id, request.ip, userAgent, request.headers.referer ?? '', fingerprint],
  );
  if (mode === 'awaited') await inserted;
  else inserted.catch((error: unknown) => process.stderr.write(`a click is lost: ${String(error)}\n`));
  return await reply
    .code(302)
    .header('Location', `${link.landing_url}&click_id=${id}`)
    .header('Cache-Control', 'no-store')
    .header('Set-Cookie', `aff_click=${id}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax`)
    .send();
});
await app.listen({ port: Number(port), host: '127.0.0.1' });
process.on('SIGTERM', () => process.exit(0));
