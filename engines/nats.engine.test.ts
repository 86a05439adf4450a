import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { connectNats } from '../core/clicks/stream.ts';
import { createLogger } from '../core/service/log.ts';
import { mountSmallDisk } from '../loadtest/small-disk.ts';
import { type Engine, freePort } from './engine.ts';
import { findNatsServer, startNats } from './nats.ts';

const log = createLogger({ name: 'nats', level: 'silent' });
const PASSWORD = "p:'@/ü%";
let folder: string;
const engines: Engine[] = [];

beforeEach(() => {
  // Only its owner may enter it: as root this is the case of a checkout below /root.
  folder = mkdtempSync(join(tmpdir(), "afflux it's a "));
});
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(sync: 'always' | 'interval', port?: number): Promise<Engine> {
  const engine = await startNats({
    server: inject('natsServer'),
    dataDir: join(folder, 'home', 'nats'),
    port: port ?? (await freePort()),
    password: PASSWORD,
    sync,
    log,
  });
  engines.push(engine);
  return engine;
}

test('keeps acknowledged messages over a kill, and reserves the room that the click stream wants', async () => {
  const killed = await start('always');
  const nc = await connectNats({ url: killed.url, name: 'test' });
  const manager = await jetstreamManager(nc);
  await manager.streams.add({ name: 'S', subjects: ['s'], max_bytes: 32 * 1024 ** 3 });
  for (let i = 0; i < 20; i++) await jetstream(nc).publish('s', `message ${i}`);
  process.kill(killed.pid, 'SIGKILL');
  await killed.exited;
  const again = await start('always');
  const nc2 = await connectNats({ url: again.url, name: 'test' });
  const info = await (await jetstreamManager(nc2)).streams.info('S');
  expect(info.state.messages).toBe(20);
  await Promise.all([nc.close(), nc2.close()]);
});

test('ends once a disk that was full has room again: the next one writes, and has what was acknowledged', async (context) => {
  const disk = mountSmallDisk(16);
  if (!disk) {
    console.warn('NOT TESTED: a full disk of nats-server, because mounting one takes root');
    return context.skip();
  }
  try {
    symlinkSync(disk.folder, join(folder, 'home'));
    const full = await start('always');
    const nc = await connectNats({ url: full.url, name: 'test' });
    await (await jetstreamManager(nc)).streams.add({ name: 'S', subjects: ['s'] });
    await jetstream(nc).publish('s', 'acknowledged');
    disk.fill();
    await expect(jetstream(nc).publish('s', Buffer.alloc(64 * 1024), { timeout: 2_000 })).rejects.toThrow();
    await nc.close();
    disk.makeRoom();
    await full.exited;
    const again = await start('always');
    const nc2 = await connectNats({ url: again.url, name: 'test' });
    await jetstream(nc2).publish('s', 'again');
    const info = await (await jetstreamManager(nc2)).streams.info('S');
    expect(info.state.messages).toBe(2);
    await nc2.close();
    await again.stop();
  } finally {
    disk.dispose();
  }
});

test('fsyncs every message only when asked and able to', async () => {
  const config = (): string => readFileSync(join(folder, 'home', 'nats', 'nats-server.conf'), 'utf8');
  await (await start('always')).stop();
  expect(config()).toContain('sync_interval: always');
  await (await start('interval')).stop();
  expect(config()).not.toContain('sync_interval');
});

test('lets in clients with the password only, and shows it to no other account', {
  tags: ['attack'],
}, async () => {
  const nats = await start('interval');
  const { port } = new URL(nats.url);
  for (const login of ['', 'afflux@', 'afflux:guess@', 'default:@']) {
    const refused = connectNats({ url: `nats://${login}127.0.0.1:${port}`, name: 'test' });
    await expect(refused).rejects.toMatchObject({
      code: 'nats_login',
      message: expect.not.stringContaining('guess'),
    });
  }
  const config = join(folder, 'home', 'nats', 'nats-server.conf');
  expect(statSync(config).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, 'home', 'nats')).mode & 0o777).toBe(0o700);
  expect(readFileSync(`/proc/${nats.pid}/cmdline`, 'utf8')).not.toContain(PASSWORD);
});

test('does not follow a link that stands in the place of its configuration', {
  tags: ['attack'],
}, async () => {
  await (await start('interval')).stop();
  const other = join(folder, 'other.txt');
  writeFileSync(other, 'as it was');
  const config = join(folder, 'home', 'nats', 'nats-server.conf');
  rmSync(config);
  symlinkSync(other, config);
  await start('interval');
  expect(readFileSync(other, 'utf8')).toBe('as it was');
});

test('ends a server left over on its folder first, even on the same port', async () => {
  const leftover = await start('interval');
  await start('interval', Number(new URL(leftover.url).port));
  expect((await leftover.exited).code).toBe(0);
});

function fake(name: string, version: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho "nats-server: ${version}"\n`);
  chmodSync(path, 0o755);
  return path;
}

test('takes the binary of NATS_SERVER, and refuses one that is too old', async () => {
  const good = fake('good', 'v2.9.0');
  expect(await findNatsServer({ explicit: good, home: folder })).toEqual({
    binary: good,
    version: [2, 9, 0],
  });
  const old = fake('old', 'v2.8.4');
  const refused = findNatsServer({ explicit: old, home: folder });
  await expect(refused).rejects.toMatchObject({ code: 'nats_server_missing' });
  await expect(refused).rejects.toThrow(/is 2\.8\.4.*setup\.mjs.*PATH.*NATS_SERVER.*NATS_URL/s);
  await expect(findNatsServer({ explicit: join(folder, 'none'), home: folder })).rejects.toThrow(
    'does not run',
  );
});

test('prefers one that can fsync before it acknowledges to an older one that comes first', async () => {
  const path = process.env.PATH;
  fake('nats-server', 'v2.9.10');
  process.env.PATH = `${folder}:${path}`;
  try {
    const inPath = { binary: 'nats-server', version: [2, 9, 10] };
    expect(await findNatsServer({ explicit: '', home: folder })).toEqual(inPath);
    const own = fake('bin/nats-server', 'v2.10.0');
    const found = { binary: own, version: [2, 10, 0] };
    expect(await findNatsServer({ explicit: '', home: folder })).toEqual(found);
  } finally {
    process.env.PATH = path;
  }
});

test('says clearly that its port is taken', async () => {
  const first = await start('interval');
  const taken = startNats({
    server: inject('natsServer'),
    dataDir: join(folder, 'other'),
    port: Number(new URL(first.url).port),
    password: PASSWORD,
    sync: 'interval',
    log,
  });
  await expect(taken).rejects.toMatchObject({
    code: 'port_unavailable',
    message: expect.stringContaining('NATS_PORT'),
  });
});
