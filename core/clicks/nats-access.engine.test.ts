import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../test/support/engines.ts';
import { type Authority, createAuthority } from '../../test/support/servers/certificates.ts';
import { type NatsConfig, startNatsWith } from '../../test/support/servers/nats.ts';
import type { OperatingErrorCode } from '../errors.ts';
import type { NatsServer } from './nats-access.ts';
import { connectNats, ensureStreams } from './stream.ts';

/** Every way to convince a nats-server, and each refused without it. */

let folder: string;
let authority: Authority;
const undo: (() => Promise<void>)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-nats-access-'));
  authority = await createAuthority(join(folder, 'authority'));
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** The address of a nats-server with these settings, as `host:port`. */
async function serve(config: NatsConfig): Promise<string> {
  const server = await startNatsWith(config);
  undo.push(server.stop);
  return `localhost:${server.port}`;
}

/** Whether streams can be made there, which needs a whole login. */
async function reaches(server: NatsServer): Promise<boolean> {
  const nc = await connectNats({ ...server, name: 'test' });
  const manager = await ensureStreams(nc).finally(() => nc.close());
  return manager !== undefined;
}

async function expectRefused(
  server: NatsServer,
  reason: RegExp,
  code: OperatingErrorCode = 'nats_unreachable',
): Promise<void> {
  await expect(connectNats({ ...server, name: 'test' })).rejects.toMatchObject({
    code,
    message: expect.stringMatching(reason),
  });
}

async function expectLoginRefused(server: NatsServer): Promise<void> {
  await expectRefused(server, /refuses the login: .*authorization violation/i, 'nats_login');
}

test('user and password in the URL, percent-encoded', async () => {
  const address = await serve({ authorization: { user: 'a b', password: 'p@ss/w:rd%' } });
  expect(await reaches({ url: `nats://a%20b:p%40ss%2Fw%3Ard%25@${address}` })).toBe(true);
  await expectLoginRefused({ url: `nats://a%20b:other@${address}` });
  await expectLoginRefused({ url: `nats://${address}` });
});

test('a token in the URL', async () => {
  const address = await serve({ authorization: { token: 's3cret/token' } });
  expect(await reaches({ url: `nats://s3cret%2Ftoken@${address}` })).toBe(true);
  await expectLoginRefused({ url: `nats://other@${address}` });
});

test('the seed of an nkey in a file, with what the tool nk writes behind it', async () => {
  const user = nkeys.createUser();
  const address = await serve({ authorization: { users: [{ nkey: user.getPublicKey() }] } });
  const seed = Buffer.from(user.getSeed()).toString();
  const nkey = file('user.nk', `${seed}\n${user.getPublicKey()}\n`);
  expect(await reaches({ url: `nats://${address}`, nkey })).toBe(true);
  const other = file('other.nk', nkeys.createUser().getSeed());
  await expectLoginRefused({ url: `nats://${address}`, nkey: other });
});

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** A JWT as nats-server reads it: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt */
function jwt(claims: { name: string; sub: KeyPair; issuer: KeyPair; nats: object }): string {
  const { name, sub, issuer, nats } = claims;
  const iat = Math.floor(Date.now() / 1000);
  const body = { jti: name, iat, iss: issuer.getPublicKey(), name, sub: sub.getPublicKey(), nats };
  const parts = [{ typ: 'JWT', alg: 'ed25519-nkey' }, body];
  const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString('base64url')}`;
}

/** A credentials file, as the tool nsc writes it. */
function credentials(user: KeyPair, issuer: KeyPair): string {
  const nats = { type: 'user', version: 2, subs: -1, data: -1, payload: -1 };
  const blocks = {
    'NATS USER JWT': jwt({ name: 'collector', sub: user, issuer, nats }),
    'USER NKEY SEED': Buffer.from(user.getSeed()).toString(),
  };
  return Object.entries(blocks)
    .map(([name, text]) => `-----BEGIN ${name}-----\n${text}\n------END ${name}------\n`)
    .join('\n');
}

test('a credentials file', async () => {
  const [operator, user] = [nkeys.createOperator(), nkeys.createUser()];
  const [system, account] = [nkeys.createAccount(), nkeys.createAccount()];
  const names = ['conn', 'subs', 'data', 'payload', 'disk_storage', 'mem_storage', 'streams', 'consumer'];
  const limits = Object.fromEntries(names.map((name) => [name, -1]));
  const accountJwt = (name: string, sub: KeyPair, nats: object) =>
    jwt({ name, sub, issuer: operator, nats: { type: 'account', version: 2, ...nats } });
  const address = await serve({
    operator: jwt({
      name: 'operator',
      sub: operator,
      issuer: operator,
      nats: { type: 'operator', version: 2 },
    }),
    system_account: system.getPublicKey(),
    resolver: 'MEMORY',
    resolver_preload: {
      [account.getPublicKey()]: accountJwt('shop', account, { limits }),
      [system.getPublicKey()]: accountJwt('system', system, {}),
    },
  });
  const creds = file('user.creds', credentials(user, account));
  expect(await reaches({ url: `nats://${address}`, creds })).toBe(true);
  const foreign = file('foreign.creds', credentials(user, nkeys.createAccount()));
  await expectLoginRefused({ url: `nats://${address}`, creds: foreign });
});

test('a seed is read again at each connection, and kept while its file is replaced', async () => {
  const [old, renewed] = [nkeys.createUser(), nkeys.createUser()];
  const users = [old, renewed].map((user) => ({ nkey: user.getPublicKey() }));
  const server = await startNatsWith({ authorization: { users } });
  undo.push(server.stop);
  const nkey = file('renewed.nk', old.getSeed());
  const nc = await connectNats({ url: `nats://localhost:${server.port}`, nkey, name: 'test' });
  undo.push(() => nc.close());
  const userAfterReconnect = async (): Promise<string> => {
    const before = nc.info?.client_id;
    await nc.reconnect();
    const answer = await waitFor(
      async () => nc.info?.client_id !== before && (await nc.request('$SYS.REQ.USER.INFO')),
      { deadlineMs: 10_000, what: 'another connection' },
    );
    return answer.json<{ data: { user: string } }>().data.user;
  };
  rmSync(nkey);
  expect(await userAfterReconnect()).toBe(old.getPublicKey());
  file('renewed.nk', '');
  expect(await userAfterReconnect()).toBe(old.getPublicKey());
  file('renewed.nk', renewed.getSeed());
  expect(await userAfterReconnect()).toBe(renewed.getPublicKey());
});

test('a file without a login is refused', async () => {
  const url = 'nats://localhost:1';
  const empty = file('empty', 'nothing');
  for (const [server, name] of [
    [{ url, creds: empty }, 'NATS_CREDS'],
    [{ url, nkey: empty }, 'NATS_NKEY'],
  ] as const) {
    await expect(connectNats({ ...server, name: 'test' })).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining(`${name} holds no login of NATS`),
    });
  }
});

test('a file that is missing is named with its variable', async () => {
  const url = 'nats://localhost:1';
  const missing = join(folder, 'missing');
  const tls = { ca: missing, cert: '', key: '' };
  for (const [server, name] of [
    [{ url, creds: missing }, 'NATS_CREDS'],
    [{ url, nkey: missing }, 'NATS_NKEY'],
    [{ url, tls }, 'NATS_CA'],
  ] as const) {
    await expect(connectNats({ ...server, name: 'test' })).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining(`${name} cannot be read: ENOENT`),
    });
  }
});

describe('TLS', () => {
  const tlsBlock = async (settings: object) => {
    const { cert, key } = await authority.issue('localhost');
    return { tls: { cert_file: cert, key_file: key, ca_file: authority.ca, ...settings } };
  };

  test('own authority', async () => {
    const address = await serve(await tlsBlock({}));
    const tls = { ca: authority.ca, cert: '', key: '' };
    expect(await reaches({ url: `nats://${address}`, tls })).toBe(true);
    expect(await reaches({ url: `tls://${address}`, tls })).toBe(true);
    await expectRefused({ url: `tls://${address}` }, /certificate/);
    const other = await createAuthority(join(folder, 'other'));
    await expectRefused({ url: `tls://${address}`, tls: { ...tls, ca: other.ca } }, /certificate/);
  });

  test('a server between with a certificate for another host is refused', { tags: ['attack'] }, async () => {
    const { cert, key } = await authority.issue('elsewhere.test');
    const address = await serve({ tls: { cert_file: cert, key_file: key } });
    const tls = { ca: authority.ca, cert: '', key: '' };
    await expectRefused({ url: `tls://${address}`, tls }, /altnames/);
  });

  test('client certificate and user', async () => {
    const address = await serve({
      ...(await tlsBlock({ verify: true })),
      authorization: { user: 'u', password: 'p' },
    });
    const tls = await authority.client('collector');
    expect(await reaches({ url: `tls://u:p@${address}`, tls })).toBe(true);
    await expectLoginRefused({ url: `tls://${address}`, tls });
    await expectRefused(
      { url: `tls://u:p@${address}`, tls: { ...tls, cert: '', key: '' } },
      /timeout|certificate/,
    );
  });

  test('before the greeting', async () => {
    const address = await serve(await tlsBlock({ handshake_first: true }));
    const tls = { ca: authority.ca, cert: '', key: '' };
    expect(await reaches({ url: `tls://${address}`, tls, tlsFirst: true })).toBe(true);
  });

  test('a server between that offers no TLS gets no password of tls://', { tags: ['attack'] }, async () => {
    let received = '';
    const between = createServer((socket) => {
      socket.on('data', (bytes) => (received += bytes)).on('error', () => undefined);
      socket.write(
        'INFO {"server_id":"x","version":"2.14.0","proto":1,"headers":true,"max_payload":1048576}\r\n',
      );
    });
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
    undo.push(() => new Promise((resolve) => between.close(() => resolve())));
    const { port } = between.address() as AddressInfo;
    await expectRefused({ url: `tls://user:topsecret@localhost:${port}` }, /'tls'/);
    expect(received).toBe('');
  });
});

test('of several servers each is tried, and one that was down at first takes over', async () => {
  const login = { authorization: { user: 'u', password: 'p' } };
  const [first, second] = [await startNatsWith(login), await startNatsWith(login)];
  undo.push(first.stop, second.stop);
  await first.kill();
  const url = `nats://u:p@localhost:${first.port}, nats://u:p@localhost:${second.port}`;
  const nc = await connectNats({ url, name: 'test' });
  undo.push(() => nc.close());
  const connectedTo = (port: number) => async () => {
    await nc.flush();
    return nc.getServer().endsWith(`:${port}`);
  };
  await waitFor(connectedTo(second.port), { deadlineMs: 5_000, what: 'the second server' });
  await first.restart();
  await second.kill();
  await waitFor(connectedTo(first.port), { deadlineMs: 20_000, what: 'the first server' });
});

test('no password in the error when none answers', async () => {
  const url = 'nats://user:topsecret@localhost:1,nats://user:topsecret@localhost:2';
  const error = await connectNats({ url, name: 'test' }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({
    code: 'nats_unreachable',
    message: expect.stringContaining('NATS at nats://localhost:1,nats://localhost:2:'),
  });
  expect(String(error)).not.toContain('topsecret');
});
