import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { TlsFiles } from '../../core/tls.ts';
import { freshClickHouseDatabase } from '../../test/support/engines.ts';
import { type Authority, createAuthority } from '../../test/support/servers/certificates.ts';
import { startTlsProxy, type TlsProxy } from '../../test/support/servers/tls-proxy.ts';
import { connectWarehouse } from './client.ts';

/** ClickHouse behind TLS that asks for a client certificate. The embedded engine speaks none: a proxy ends it. */

let folder: string;
let authority: Authority;
let proxy: TlsProxy;
let database: { url: string; drop(): Promise<void> };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-ch-tls-'));
  authority = await createAuthority(join(folder, 'authority'));
  database = await freshClickHouseDatabase();
  proxy = await startTlsProxy(authority, Number(new URL(inject('clickhouseUrl')).port));
});
afterAll(async () => {
  await proxy?.stop();
  await database?.drop();
  rmSync(folder, { recursive: true, force: true });
});

/** The database's URL through the proxy. */
function secureUrl(host = 'localhost'): string {
  const { username, password, pathname } = new URL(database.url);
  return `https://${username ? `${username}:${password}@` : ''}${host}:${proxy.port}${pathname}`;
}

/** A call of each transport. */
async function use(tls: TlsFiles, url = secureUrl()): Promise<unknown> {
  const warehouse = await connectWarehouse({ url, tls, name: 'test' });
  try {
    await warehouse.command('CREATE TABLE IF NOT EXISTS t (n UInt8) ENGINE = MergeTree ORDER BY n');
    await warehouse.insertRows('t', [{ n: 7 }]);
    const { rows } = await warehouse.query<{ n: number }>('SELECT max(n) AS n FROM t');
    return rows[0]?.n;
  } finally {
    await warehouse.close();
  }
}

const refused = (message: RegExp) => ({
  code: 'clickhouse_unreachable',
  message: expect.stringMatching(message),
});

test('own authority and client certificate, with both clients', async () => {
  expect(await use(await authority.client('afflux'))).toBe(7);
});

test('a server between, of another authority or with another name, is refused', {
  tags: ['attack'],
}, async () => {
  const ours = await authority.client('afflux');
  const other = await createAuthority(join(folder, 'other'));
  await expect(use({ ...ours, ca: '' })).rejects.toMatchObject(refused(/certificate/));
  await expect(use({ ...ours, ca: other.ca })).rejects.toMatchObject(refused(/certificate/));
  await expect(use(ours, secureUrl('127.0.0.1'))).rejects.toMatchObject(refused(/altnames/));
});

test('without the certificate, or with that of another authority, the server refuses', async () => {
  await expect(use({ ca: authority.ca, cert: '', key: '' })).rejects.toMatchObject(refused(/./));
  const other = await createAuthority(join(folder, 'third'));
  await expect(use({ ...(await other.client('afflux')), ca: authority.ca })).rejects.toMatchObject(
    refused(/./),
  );
});

test('the certificate is the login when there is no password, and never beside one', async () => {
  const tls = await authority.client('afflux');
  const login = async (user: string) => {
    const before = proxy.received().length;
    await use(tls, secureUrl().replace(/\/\/([^@]*@)?/, `//${user}@`)).catch(() => undefined);
    return proxy.received().slice(before).toLowerCase();
  };
  const byCertificate = await login('shop');
  expect(byCertificate).toContain('x-clickhouse-user: shop\r\n');
  expect(byCertificate).toContain('x-clickhouse-ssl-certificate-auth: on\r\n');
  expect(byCertificate).not.toMatch(/x-clickhouse-key|authorization:/);
  const byPassword = await login('shop:p%40ss');
  expect(byPassword).toContain('x-clickhouse-key: p@ss\r\n');
  expect(byPassword).not.toContain('x-clickhouse-ssl-certificate-auth');
});

test('a file that is missing is named with its variable', async () => {
  const key = join(folder, 'missing.key');
  await expect(use({ ...(await authority.client('afflux')), key })).rejects.toMatchObject({
    code: 'invalid_config',
    message: expect.stringContaining('CLICKHOUSE_KEY cannot be read: ENOENT'),
  });
});
