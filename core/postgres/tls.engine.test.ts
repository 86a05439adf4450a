import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Authority, createAuthority } from '../../test/support/servers/certificates.ts';
import { startTlsPostgres, type TlsPostgres } from '../../test/support/servers/postgres.ts';
import { openPostgres } from './postgres.ts';

/** TLS by the parameters of DATABASE_URL, with libpq's meaning, against PostgreSQL's own. */

let folder: string;
let authority: Authority;
let other: Authority;
let postgres: TlsPostgres;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-tls-client-'));
  authority = await createAuthority(join(folder, 'authority'));
  other = await createAuthority(join(folder, 'other'));
  postgres = await startTlsPostgres(authority, 'p@ss/word');
});
afterAll(async () => {
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** How the session is protected: the version of TLS, and the name in the client's certificate. */
async function session(
  role: string,
  parameters: Readonly<Record<string, string>>,
  host = 'localhost',
): Promise<unknown> {
  const url = new URL(`postgres://${role}:p%40ss%2Fword@${host}:${postgres.port}/afflux`);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const sql = openPostgres({ url: url.href, max: 1, name: 'test', as: 'owner' });
  try {
    const [row] = await sql`
      select version as tls, client_dn as client from pg_stat_ssl where pid = pg_backend_pid()`;
    return row;
  } finally {
    await sql.end();
  }
}

const TLS = /^TLSv1\.[23]$/;

test('require encrypts, and trusts any server', async () => {
  expect(await session('plain', { sslmode: 'require' })).toMatchObject({ tls: expect.stringMatching(TLS) });
});

test('a server between that offers no TLS is refused', { tags: ['attack'] }, async () => {
  for (const sslmode of ['require', 'verify-full']) {
    const url = new URL(inject('postgresUrl'));
    url.searchParams.set('sslmode', sslmode);
    const sql = openPostgres({ url: url.href, max: 1, name: 'test', as: 'owner' });
    await expect(sql`select 1`).rejects.toThrow('does not support SSL');
    await sql.end();
  }
});

test('without sslmode, and with disable, there is no TLS', async () => {
  await expect(session('plain', {})).rejects.toThrow(/no encryption/);
  await expect(session('plain', { sslmode: 'disable' })).rejects.toThrow(/no encryption/);
});

test('the environment of libpq does not decide', async () => {
  process.env.PGSSLMODE = 'require';
  try {
    await expect(session('plain', {})).rejects.toThrow(/no encryption/);
  } finally {
    delete process.env.PGSSLMODE;
  }
});

test('a server between with a certificate of another authority is refused', {
  tags: ['attack'],
}, async () => {
  for (const sslmode of ['verify-ca', 'verify-full', 'require']) {
    const trusted = session('plain', { sslmode, sslrootcert: authority.ca });
    expect(await trusted).toMatchObject({ tls: expect.stringMatching(TLS) });
    await expect(session('plain', { sslmode, sslrootcert: other.ca })).rejects.toThrow(
      /certificate|signature/,
    );
  }
});

test('verify-full without an authority of its own trusts those that Node.js knows', async () => {
  await expect(session('plain', { sslmode: 'verify-full' })).rejects.toThrow(/certificate/);
});

test('a server between with a certificate for another host passes verify-ca, not verify-full', {
  tags: ['attack'],
}, async () => {
  const sslrootcert = authority.ca;
  const passed = session('plain', { sslmode: 'verify-ca', sslrootcert }, '127.0.0.1');
  expect(await passed).toMatchObject({ tls: expect.stringMatching(TLS) });
  await expect(session('plain', { sslmode: 'verify-full', sslrootcert }, '127.0.0.1')).rejects.toThrow(
    /altnames/,
  );
});

test('a client certificate', async () => {
  const shop = await authority.client('shop');
  const verified = { sslmode: 'verify-full', sslrootcert: authority.ca };
  const withCertificate = { ...verified, sslcert: shop.cert, sslkey: shop.key };
  expect(await session('shop', withCertificate)).toMatchObject({ client: '/CN=shop' });
  await expect(session('shop', verified)).rejects.toThrow(/client certificate/);
  const foreign = await authority.client('somebody');
  await expect(session('shop', { ...verified, sslcert: foreign.cert, sslkey: foreign.key })).rejects.toThrow(
    /authentication failed/,
  );
});

test('a file that is missing is named', async () => {
  const sslrootcert = join(folder, 'missing.pem');
  await expect(session('plain', { sslmode: 'verify-full', sslrootcert })).rejects.toThrow(
    /ENOENT.*missing\.pem/,
  );
});

test('a Unix socket', async () => {
  const host = encodeURIComponent(postgres.socketFolder);
  expect(await session('plain', { sslmode: 'require' }, host)).toMatchObject({ tls: null });
  expect(await session('plain', { host: postgres.socketFolder })).toMatchObject({ tls: null });
});
