import { createHash, randomUUID } from 'node:crypto';
import fastify from 'fastify';
import pg from 'pg';

/**
 * What a click costs in the usual design: the link is looked up and the click inserted in PostgreSQL, awaited, before
 * the redirect. One row and two round trips a click, on a pool.
 */
const port = Number(process.argv[2]);
const POOL_SIZE = 20;

const pool = new pg.Pool({ connectionString: process.argv[3], max: POOL_SIZE });
await pool.query(`
  create table if not exists plain_links (code text primary key, affiliate_id integer, landing_url text);
  create table if not exists plain_clicks (id uuid primary key, affiliate_id integer, code text, ip inet,
    user_agent text, referrer varchar(500), fingerprint varchar(64), created_at timestamptz not null default now());
  create index if not exists plain_clicks_date on plain_clicks (affiliate_id, created_at desc);
  insert into plain_links select code, affiliate_id, landing_url from links on conflict do nothing;
  analyze plain_links`);

const app = fastify();
app.get<{ Params: { code: string } }>('/c/:code', async (request, reply) => {
  const { rows } = await pool.query('select affiliate_id, landing_url from plain_links where code = $1', [
    request.params.code,
  ]);
  const [link] = rows;
  if (!link) return await reply.code(404).send();
  const id = randomUUID();
  const userAgent = request.headers['user-agent'] ?? '';
  const fingerprint = createHash('sha256')
    .update(`${userAgent}:${request.headers['accept-language'] ?? ''}`)
    .digest('hex')
    .slice(0, 32);
  await pool.query(
    'insert into plain_clicks (id, affiliate_id, code, ip, user_agent, referrer, fingerprint) values ($1, $2, $3, $4, $5, $6, $7)',
    [
      id,
      link.affiliate_id,
      request.params.code,
      request.ip,
      userAgent,
      request.headers.referer ?? '',
      fingerprint,
    ],
  );
  return await reply
    .code(302)
    .header('Location', `${link.landing_url}?click_id=${id}`)
    .header('Cache-Control', 'no-store')
    .header('Set-Cookie', `aff_click=${id}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax`)
    .send();
});
await app.listen({ port, host: '127.0.0.1' });
process.on('SIGTERM', () => process.exit(0));
