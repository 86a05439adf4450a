import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Config, loadConfig } from '../core/config/config.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';
import { fingerprintOf, listPlatformKeys } from '../core/keys/platform-keys.ts';
import { freePort } from '../engines/engine.ts';
import { createLink } from '../ledger/programs/links.ts';
import { type CollectorUnderTest, prepareCollector } from '../test/support/collector.ts';
import { waitFor } from '../test/support/engines.ts';
import { quietLog } from '../test/support/warehouse.ts';
import { startCollector } from './main.ts';

/** Two machines with one set of stores: the second has a home, and so generated keys, of its own. */

let world: CollectorUnderTest;
let secondHome: string;
let second: Config;
const undo: (() => unknown)[] = [];

beforeEach(async () => {
  world = await prepareCollector();
  secondHome = mkdtempSync(join(tmpdir(), 'afflux-second-'));
  second = await configOf({});
  undo.push(
    () => world.dispose(),
    () => rmSync(secondHome, { recursive: true }),
  );
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function configOf(changes: Record<string, string>): Promise<Config> {
  const { databaseUrl, natsUrl } = world.config;
  return withGeneratedSecrets(
    loadConfig({
      AFFLUX_HOME: secondHome,
      COLLECTOR_PORT: String(await freePort()),
      DATABASE_URL: databaseUrl,
      NATS_URL: natsUrl,
      ...changes,
    }),
  );
}

/** Starts a collector, which may not be ready. */
async function start(config: Config): Promise<{ stop(): Promise<void> }> {
  const collector = await startCollector({ config, log: quietLog });
  let isStopped = false;
  const stop = async () => {
    if (!isStopped) await collector.stop();
    isStopped = true;
  };
  undo.push(stop);
  return { stop };
}

async function readiness({ collectorPort }: Config): Promise<[status: number, text: string]> {
  const answer = await fetch(`http://127.0.0.1:${collectorPort}/readyz`);
  return [answer.status, await answer.text()];
}

async function isReady(config: Config): Promise<boolean> {
  return (await readiness(config))[0] === 200;
}

const hex = (keys: readonly Buffer[]) => keys.map((key) => key.toString('hex')).join(',');
const fingerprint = (key: Buffer | undefined) => fingerprintOf('click', key as Buffer);

test('a second collector with keys of its own mints click ids that the others cannot read: it does not start', {
  tags: ['attack'],
}, async () => {
  await world.start();
  const [own] = second.clickKeys;
  const [platform] = world.config.clickKeys;
  await expect(startCollector({ config: second, log: quietLog })).rejects.toMatchObject({
    code: 'keys_differ',
    message: expect.stringMatching(
      new RegExp(
        `^this process does not have the platform's click keys: it has ${fingerprint(own)} and lacks ${fingerprint(platform)} .*` +
          'set CLICK_KEYS to all of them, the newest first, or copy AFFLUX_HOME/secrets.json',
      ),
    ),
  });
  const known = await listPlatformKeys(world.ledger);
  expect(known.map(({ kind, fingerprint }) => [kind, fingerprint])).toEqual([
    ['click', fingerprint(platform)],
  ]);

  const brought = await configOf({ CLICK_KEYS: hex(world.config.clickKeys) });
  await start(brought);
  await waitFor(() => isReady(brought), { deadlineMs: 10_000, what: 'the second collector' });
});

test('a new key is known everywhere before the first click has it, and is then required', async () => {
  const old = world.config.clickKeys;
  const fresh = randomBytes(16);
  const onlyOld = await configOf({ CLICK_KEYS: hex(old) });
  const both = await configOf({ CLICK_KEYS: hex([...old, fresh]) });
  const rotated = await configOf({ CLICK_KEYS: hex([fresh, ...old]) });
  const onlyFresh = await configOf({ CLICK_KEYS: hex([fresh]) });
  // Behind the others it is not in use: a machine without it may start.
  for (const config of [onlyOld, both, onlyOld, rotated]) await (await start(config)).stop();
  for (const [config, missing] of [
    [onlyOld, fresh],
    [onlyFresh, old[0]],
  ] as const) {
    await expect(startCollector({ config, log: quietLog })).rejects.toMatchObject({
      code: 'keys_differ',
      message: expect.stringContaining(`lacks ${fingerprint(missing)} `),
    });
  }
  await (await start(both)).stop();
});

/** PostgreSQL at an address that answers only while it is connected. */
async function switchable(): Promise<{ url: string; connect(): Promise<void> }> {
  const target = new URL(world.config.databaseUrl);
  const port = await freePort();
  const url = new URL(target);
  url.port = String(port);
  return {
    url: url.href,
    async connect() {
      const server = createServer((incoming) => {
        const onward = connect(Number(target.port), target.hostname);
        undo.push(() => incoming.destroy());
        incoming.on('error', () => onward.destroy()).pipe(onward);
        onward.on('error', () => incoming.destroy()).pipe(incoming);
      });
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      undo.push(() => void server.close());
    },
  };
}

test('without PostgreSQL a collector starts with the keys that were confirmed last, and with no others', async () => {
  const away = await switchable();
  await createLink(world.ledger, {
    campaignId: world.campaign.id,
    affiliateId: world.affiliate.id,
    landingUrl: 'https://shop.test/',
    code: 'known',
  });
  await (await start(world.config)).stop();
  const others = { ...world.config, databaseUrl: away.url, clickKeys: second.clickKeys };
  await expect(startCollector({ config: others, log: quietLog })).rejects.toMatchObject({
    code: 'keys_differ',
  });

  const config = { ...world.config, databaseUrl: away.url };
  await start(config);
  await waitFor(() => isReady(config), { deadlineMs: 10_000, what: 'the collector' });
  // Meanwhile another machine has changed the key.
  const fresh = randomBytes(16);
  const rotated = await configOf({ CLICK_KEYS: hex([fresh, ...config.clickKeys]) });
  await (await start(rotated)).stop();
  await away.connect();
  await waitFor(async () => !(await isReady(config)), { deadlineMs: 10_000, what: 'PostgreSQL to be asked' });
  expect(await readiness(config)).toEqual([503, expect.stringContaining(`lacks ${fingerprint(fresh)} `)]);
  // Its clicks can be read by all who have the old key, so it goes on until it is replaced.
  const answer = await fetch(`http://127.0.0.1:${config.collectorPort}/c/known`, { redirect: 'manual' });
  expect(answer.status).toBe(302);
});

test('a first start without PostgreSQL gives out no click id before its keys are confirmed', async () => {
  await (await start(world.config)).stop();
  const away = await switchable();
  const config = { ...second, databaseUrl: away.url };
  await start(config);
  await away.connect();
  await waitFor(async () => (await readiness(config))[1].includes('lacks'), {
    deadlineMs: 10_000,
    what: 'PostgreSQL to be asked',
  });
  const answer = await fetch(`http://127.0.0.1:${config.collectorPort}/c/any`, { redirect: 'manual' });
  expect(answer.status).toBe(503);
});
