import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { clickIdentityKey, createClickIdCodec } from '../../core/clicks/click-id.ts';
import { type Lease, listLeases, shardOfLease } from '../../core/clicks/lease.ts';
import { connectNats, LEASES_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { createLogger } from '../../core/service/log.ts';
import { createCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { mountSmallDisk, type SmallDisk } from '../../loadtest/small-disk.ts';
import { type CollectorUnderTest, prepareCollector, readMetrics } from '../../test/support/collector.ts';
import { waitFor } from '../../test/support/engines.ts';
import { reportMissing } from '../../test/support/programs.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { collectorSlotFolder, startCollector } from '../main.ts';
import { ownName } from './state-folder.ts';

/** Longest wait for a spool of a test's size to be replayed. */
const REPLAY_DEADLINE_MS = 15_000;
/** Room for an empty stream, a lease and a few hundred clicks. */
const DISK_MB = 16;
const DISK_WITH_RESERVE_MB = 96;

describe('collector without NATS', () => {
  let world: CollectorUnderTest;
  let running: { stop(): Promise<void> }[] = [];
  let code = '';

  const start = async (changes: Parameters<CollectorUnderTest['start']>[0] = {}) => {
    const collector = await world.start(changes);
    running.push(collector);
    return collector;
  };
  const click = () => fetch(`${world.url}/c/${code}`, { redirect: 'manual' });
  /** Clicks one after another on several connections; gives the click ids the visitors got and the other answers. */
  const clickMany = async (count: number) => {
    const ids: string[] = [];
    const others: number[] = [];
    const visitor = async () => {
      for (let i = 0; i < count / 10; i++) {
        const answer = await click();
        const id = new URL(answer.headers.get('location') ?? 'x:').searchParams.get('click_id');
        if (answer.status === 302 && id) ids.push(id);
        else others.push(answer.status);
      }
    };
    await Promise.all(Array.from({ length: 10 }, visitor));
    return { ids, others };
  };
  const metric = async (name: string) => {
    const text = await readMetrics(world.url, world.config);
    return Number(new RegExp(`^afflux_collector_${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  const readyText = async () => {
    const answer = await fetch(`${world.url}/readyz`);
    return [answer.status, await answer.text()];
  };
  const spoolIsEmpty = () =>
    waitFor(async () => (await metric('spool_bytes')) === 0, {
      deadlineMs: REPLAY_DEADLINE_MS,
      what: 'the replay',
    });
  const leases = async (): Promise<Lease[]> => {
    const nc = await connectNats({ url: world.nats.url, name: 'test' });
    return await listLeases(await openBucket(nc, LEASES_BUCKET)).finally(() => nc.close());
  };
  /** Every id a visitor holds is stored, every stored click once, and no lease has a gap. */
  const expectNothingLost = async (ids: readonly string[]) => {
    const codec = createClickIdCodec(world.config.clickKeys);
    const stored = await world.storedClicks();
    const keys = stored.map(clickIdentityKey);
    expect(new Set(keys).size).toBe(keys.length);
    const missing = ids.filter((id) => {
      const identity = codec.decode(id);
      return !identity || !keys.includes(clickIdentityKey(identity));
    });
    expect(missing).toEqual([]);
    for (const node of new Set(stored.map((record) => record.node))) {
      const seqs = stored.filter((record) => record.node === node).map((record) => record.seq);
      expect(seqs.sort((a, b) => a - b)).toEqual(seqs.map((_, i) => i));
    }
  };

  const linkOfNewCampaign = async (name: string): Promise<string> => {
    const campaign = await createCampaign(world.ledger, {
      programId: world.program.id,
      name,
      cookieDays: 7,
      landingUrl: 'https://shop.test/',
    });
    const link = await createLink(world.ledger, {
      campaignId: campaign.id,
      affiliateId: world.affiliate.id,
      landingUrl: 'https://shop.test/',
    });
    return link.code;
  };

  const prepare = async (disks: Parameters<typeof prepareCollector>[0] = {}) => {
    running = [];
    world = await prepareCollector(disks);
    ({ code } = await createLink(world.ledger, {
      campaignId: world.campaign.id,
      affiliateId: world.affiliate.id,
      landingUrl: 'https://shop.test/',
    }));
  };
  afterEach(async () => {
    for (const collector of running) await collector.stop();
    await world.dispose();
  });

  it('redirects from the spool while NATS is frozen, and replays when it wakes', async () => {
    await prepare();
    await start();
    const before = await clickMany(50);
    process.kill(world.nats.pid, 'SIGSTOP');
    const during = await clickMany(200);
    expect(await metric('spool_bytes')).toBeGreaterThan(0);
    expect(await metric('stream_up')).toBe(0);
    expect(await readyText()).toEqual([200, 'ready: NATS takes no clicks; they are kept in the spool\n']);
    process.kill(world.nats.pid, 'SIGCONT');
    await spoolIsEmpty();
    const after = await clickMany(50);
    expect(await metric('stream_up')).toBe(1);
    expect(await readyText()).toEqual([200, 'ready\n']);
    const ids = [...before.ids, ...during.ids, ...after.ids];
    expect(ids).toHaveLength(300);
    await expectNothingLost(ids);
  });

  it('does not wait for NATS in its start when that refuses its login', async () => {
    await prepare();
    await (await start()).stop();
    running = [];
    const natsUrl = world.nats.url.replace(/:[^:@]*@/, ':other@');
    await expect(start({ natsUrl })).rejects.toMatchObject({ code: 'nats_login' });
  });

  it('waits for NATS in its start when it has run before, and not when it is stopped', async () => {
    await prepare();
    await world.nats.kill();
    await expect(start()).rejects.toMatchObject({ code: 'nats_unreachable' });
    await world.nats.restart();
    const first = await start();
    await click();
    await first.stop();
    running = [];
    await world.nats.kill();
    const stop = new AbortController();
    const stopped = startCollector({ config: world.config, log: quietLog, stopping: stop.signal });
    stop.abort();
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    const waiting = start();
    await world.nats.restart();
    await waiting;
    const late = startCollector({ config: world.config, log: quietLog, stopping: stop.signal });
    await expect(late).rejects.toMatchObject({ name: 'AbortError' });
    expect((await click()).status).toBe(302);
  });

  it('touches nothing in its start while another process has its folder', async () => {
    await prepare();
    const other = spawn('sleep', ['60']);
    try {
      const stat = readFileSync(`/proc/${other.pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ');
      const folder = collectorSlotFolder(world.config.home, 0);
      mkdirSync(folder, { recursive: true });
      const name = { ...ownName(), pid: other.pid, started: stat?.[19] };
      writeFileSync(join(folder, 'collector.pid'), JSON.stringify(name));
      const lines: string[] = [];
      const log = createLogger({ name: 'test', level: 'warn', write: (line) => lines.push(line) });
      const starting = startCollector({ config: world.config, log });
      const waits = () => lines.some((line) => line.includes(`"pid":${other.pid},`));
      await waitFor(waits, { deadlineMs: 20_000, what: 'the start to wait' });
      expect([readdirSync(folder), await leases()]).toEqual([['collector.pid'], []]);
      other.kill('SIGKILL');
      running.push(await starting);
      await waitFor(async () => (await click()).status === 302, { deadlineMs: 10_000, what: 'its links' });
    } finally {
      other.kill('SIGKILL');
    }
  });

  it('redirects while NATS is dead, and replays when it is back', async () => {
    await prepare();
    await start();
    const before = await clickMany(50);
    await world.nats.kill();
    const during = await clickMany(200);
    await world.nats.restart();
    await spoolIsEmpty();
    const after = await clickMany(50);
    const ids = [...before.ids, ...during.ids, ...after.ids];
    expect(ids).toHaveLength(300);
    await expectNothingLost(ids);
  });

  it('keeps the spool over a restart, holds its lease open until it is replayed, and then closes it exactly', async () => {
    await prepare();
    const first = await start();
    await clickMany(50);
    process.kill(world.nats.pid, 'SIGSTOP');
    const during = await clickMany(100);
    const stopping = first.stop();
    running = [];
    await waitFor(async () => !(await isListening()), {
      deadlineMs: 5_000,
      what: 'the collector to stop listening',
    });
    process.kill(world.nats.pid, 'SIGCONT');
    await stopping;
    const [left] = await leases();
    await start();
    await spoolIsEmpty();
    const closed = await waitFor(async () => (await leases()).find((lease) => lease.state === 'closed'), {
      deadlineMs: 5_000,
      what: 'the first lease to be closed',
    });
    expect([left?.node, closed.node, closed.nextSeq]).toEqual([0, 0, 150]);
    await expectNothingLost(during.ids);
  });

  it('replays the spools of shards to which it sends no new clicks any more', async () => {
    await prepare();
    const codes = await Promise.all(
      Array.from({ length: 12 }, (_, number) => linkOfNewCampaign(`C${number}`)),
    );
    const clickAll = async () => {
      const answers = await Promise.all(
        codes.map((one) => fetch(`${world.url}/c/${one}`, { redirect: 'manual' })),
      );
      return answers.map(
        ({ headers }) => new URL(headers.get('location') ?? 'x:').searchParams.get('click_id') ?? '',
      );
    };
    const first = await start({ clickShards: 3 });
    const before = await clickAll();
    await world.nats.kill();
    const during = [...(await clickAll()), ...(await clickAll())];
    await first.stop();
    running = [];
    const files = await readdir(world.config.home, { recursive: true });
    const spools = files.filter((path) => path.endsWith('.spool')).map((path) => basename(dirname(path)));
    expect([...new Set(spools)].sort()).toEqual(['spool', 'spool-1', 'spool-2']);
    await world.nats.restart();
    await start({ clickShards: 1 });
    await spoolIsEmpty();
    const after = await clickAll();
    await expectNothingLost([...before, ...during, ...after]);
    const ended = async () =>
      (await leases())
        .filter(({ state }) => state !== 'open')
        .map(shardOfLease)
        .sort();
    await waitFor(async () => (await ended()).length === 3, {
      deadlineMs: 5_000,
      what: 'the leases of three shards to end',
    });
    expect(await ended()).toEqual([0, 1, 2]);
  });

  it('refuses with Retry-After when the spool is full, says it is not ready, and has no gap afterwards', async () => {
    await prepare();
    await start({ spoolMaxMb: 1 / 1024 });
    process.kill(world.nats.pid, 'SIGSTOP');
    const during = await clickMany(300);
    expect(new Set(during.others)).toEqual(new Set([503]));
    expect((await click()).headers.get('retry-after')).toBe('1');
    expect(await readyText()).toEqual([503, expect.stringMatching(/stored|full/)]);
    process.kill(world.nats.pid, 'SIGCONT');
    await spoolIsEmpty();
    await waitFor(async () => (await click()).status === 302, { deadlineMs: 5_000, what: 'redirects again' });
    const after = await clickMany(50);
    expect(after.others).toEqual([]);
    await expectNothingLost([...during.ids, ...after.ids]);
  });

  describe('and a full disk', () => {
    /** Without room for a reserve. */
    let disk: SmallDisk | undefined;
    beforeAll(() => {
      disk = mountSmallDisk(DISK_MB);
      if (!disk) reportMissing('root', 'a collector without NATS and a full disk');
    });
    afterAll(() => disk?.dispose());

    it('of its own: refuses, half-records nothing, and redirects again as soon as there is room', async (context) => {
      if (!disk) return context.skip();
      await prepare({ homeDisk: disk.folder });
      await start();
      const before = await clickMany(50);
      process.kill(world.nats.pid, 'SIGSTOP');
      disk.fill();
      const during = await clickMany(100);
      expect([during.ids.length, new Set(during.others)]).toEqual([0, new Set([503])]);
      disk.makeRoom();
      await waitFor(async () => (await click()).status === 302, {
        deadlineMs: 5_000,
        what: 'redirects again',
      });
      const spooled = await clickMany(50);
      expect(spooled.others).toEqual([]);
      expect(await metric('spool_bytes')).toBeGreaterThan(0);
      process.kill(world.nats.pid, 'SIGCONT');
      await spoolIsEmpty();
      await expectNothingLost([...before.ids, ...spooled.ids]);
    });

    it('of its own: redirects from the reserve of its spool, and has one again afterwards', async (context) => {
      const large = mountSmallDisk(DISK_WITH_RESERVE_MB);
      if (!large) return context.skip();
      try {
        await prepare({ homeDisk: large.folder });
        await start();
        const hasReserve = () =>
          waitFor(async () => (await metric('spool_reserve_bytes')) > 0, {
            deadlineMs: REPLAY_DEADLINE_MS,
            what: 'the reserve',
          });
        await hasReserve();
        const before = await clickMany(50);
        process.kill(world.nats.pid, 'SIGSTOP');
        large.fill();
        const during = await clickMany(200);
        expect(during.others).toEqual([]);
        expect(await metric('spool_reserve_bytes')).toBe(0);
        process.kill(world.nats.pid, 'SIGCONT');
        await spoolIsEmpty();
        await hasReserve();
        const after = await clickMany(50);
        await expectNothingLost([...before.ids, ...during.ids, ...after.ids]);
      } finally {
        // Its claim of the folder is on that disk.
        for (const collector of running.splice(0)) await collector.stop();
        large.dispose();
      }
    });

    it('of NATS: redirects from the spool, and replays when it has room, ends and is started again', async (context) => {
      if (!disk) return context.skip();
      await prepare({ natsDisk: disk.folder });
      await start();
      const before = await clickMany(50);
      disk.fill();
      const during = await clickMany(200);
      expect(during.others).toEqual([]);
      expect(await metric('spool_bytes')).toBeGreaterThan(0);
      disk.makeRoom();
      // A supervisor starts again what has ended.
      await world.nats.ended();
      await world.nats.restart();
      await spoolIsEmpty();
      const after = await clickMany(50);
      const ids = [...before.ids, ...during.ids, ...after.ids];
      expect(ids).toHaveLength(300);
      await expectNothingLost(ids);
    });
  });

  async function isListening(): Promise<boolean> {
    return await fetch(`${world.url}/healthz`).then(
      () => true,
      () => false,
    );
  }
});
