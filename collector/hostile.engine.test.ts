import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLink } from '../ledger/programs/links.ts';
import { type CollectorUnderTest, prepareCollector, readMetrics } from '../test/support/collector.ts';
import { waitFor } from '../test/support/engines.ts';

/** What a hostile or broken client sends; after each, the collector must still answer a good one. */
/**
 * More by AFFLUX_TEST_IDLE (20,000 need `ulimit -n` of 42,000: both ends are of this process) and AFFLUX_TEST_REQUESTS.
 */
const IDLE_CONNECTIONS = Number(process.env.AFFLUX_TEST_IDLE ?? 2_000);
const RANDOM_REQUESTS = Number(process.env.AFFLUX_TEST_REQUESTS ?? 20_000);
const OPENED_AT_ONCE = 100;

describe('collector under bad clients', () => {
  const sockets = new Set<Socket>();
  let world: CollectorUnderTest;
  let collector: { stop(): Promise<void> };
  const code = 'good';

  const port = () => Number(new URL(world.url).port);
  const good = async () => (await fetch(`${world.url}/c/${code}`, { redirect: 'manual' })).status;

  /** A connection that is closed at the end of the test, whatever becomes of it. */
  async function open(): Promise<Socket> {
    const socket = connect(port(), '127.0.0.1');
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.resume();
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('close', reject));
    return socket;
  }

  const metric = async (pattern: string) => {
    const text = await readMetrics(world.url, world.config);
    return Number(new RegExp(`^${pattern} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  const aborted = () => metric('afflux_collector_requests_total\\{outcome="aborted"\\}');

  beforeAll(async () => {
    world = await prepareCollector();
    collector = await world.start();
    await createLink(world.ledger, {
      campaignId: world.campaign.id,
      affiliateId: world.affiliate.id,
      landingUrl: 'https://shop.test/?u={user_agent}&s={sub1}',
      code,
    });
    await waitFor(async () => (await good()) === 302, { deadlineMs: 2_000, what: 'the link' });
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await collector.stop();
    await world.dispose();
  });

  it('answers others while thousands of connections are idle', async () => {
    const idle: Socket[] = [];
    while (idle.length < IDLE_CONNECTIONS) {
      idle.push(...(await Promise.all(Array.from({ length: OPENED_AT_ONCE }, open))));
    }
    expect(sockets.size).toBeGreaterThanOrEqual(IDLE_CONNECTIONS);
    expect(await good()).toBe(302);
    // They are served as soon as they ask.
    const [first] = idle;
    const answered = new Promise<string>((resolve) => {
      first?.once('data', (bytes) => resolve(bytes.toString('latin1', 0, 12)));
    });
    first?.write(`GET /c/${code} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(await answered).toBe('HTTP/1.1 302');
    for (const socket of idle) socket.destroy();
  });

  it('answers others while clients send their headers byte by byte, and cuts off endless ones', async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, open));
    for (const byte of `GET /c/${code} HTTP/1.1\r\nHost: go.shop.test\r\nUser-Agent: slow\r\n`) {
      for (const socket of slow) socket.write(byte);
      expect(await good()).toBe(302);
    }
    const [endless, ...others] = slow;
    const answers = others.map((socket) => exchange(socket, Buffer.from('\r\n'), ANSWER_MS));
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['302']));
    expect(endless && (await exchange(endless, Buffer.from(`X: ${'a'.repeat(200_000)}`), ANSWER_MS))).toBe(
      '431',
    );
    for (const socket of slow) socket.destroy();
    expect(await good()).toBe(302);
  });

  it('lives on when clients leave in every phase of a request', async () => {
    const request = `GET /c/${code}?sub1=left HTTP/1.1\r\nHost: x\r\nUser-Agent: a\r\n\r\n`;
    // Before, within, at the end of the request, and when the answer is on its way.
    const phases: ((socket: Socket) => void)[] = [
      (socket) => socket.destroy(),
      (socket) => socket.write(request.slice(0, 10), () => socket.destroy()),
      (socket) => socket.write(request.slice(0, -2), () => socket.resetAndDestroy()),
      (socket) => socket.write(request, () => socket.resetAndDestroy()),
      (socket) => socket.write(request, () => socket.destroy()),
      (socket) => socket.end(request),
      (socket) => socket.write(request, () => setImmediate(() => socket.resetAndDestroy())),
      (socket) => socket.once('data', () => socket.resetAndDestroy()).write(request),
      (socket) => socket.write(request.replace('/c/good', '/i/good.gif'), () => socket.resetAndDestroy()),
      (socket) => socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', () => socket.resetAndDestroy()),
    ];
    for (let round = 0; round < 20; round++) {
      const opened = await Promise.all(phases.map(() => open()));
      for (const [i, socket] of opened.entries()) phases[i]?.(socket);
      expect(await good()).toBe(302);
    }
  });

  /** Opens so many connections, sends a click or an impression on each, and resets all of them. */
  async function sendAndLeave(clients: number): Promise<void> {
    const waiting = await Promise.all(Array.from({ length: clients }, open));
    await Promise.all(
      waiting.map(
        (socket, i) =>
          new Promise((resolve) => {
            const path = i % 2 === 0 ? `/c/${code}` : `/i/${code}.gif`;
            socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`, resolve);
          }),
      ),
    );
    // A request that the kernel has not handed over yet would be dropped by the reset.
    await waitFor(
      async () =>
        (await metric('afflux_collector_batches_in_flight')) > 0 ||
        (await metric('afflux_collector_spool_bytes')) > 0,
      { deadlineMs: 5_000, what: 'a click to wait' },
    );
    for (const socket of waiting) socket.resetAndDestroy();
  }

  it('touches no answer whose client left while NATS was frozen and its click waited', async () => {
    const before = await aborted();
    process.kill(world.nats.pid, 'SIGSTOP');
    try {
      // Clicks wait a quarter of a second before the spool takes them; a wave whose clients left later shows nothing.
      await waitFor(
        async () => {
          await sendAndLeave(40);
          return (await aborted()) > before;
        },
        { deadlineMs: 15_000, what: 'clients that leave while their clicks wait' },
      );
    } finally {
      process.kill(world.nats.pid, 'SIGCONT');
    }
    await waitFor(async () => (await good()) === 302, { deadlineMs: 5_000, what: 'the stream' });
    await waitFor(async () => (await metric('afflux_collector_spool_bytes')) === 0, {
      deadlineMs: 10_000,
      what: 'the replay',
    });
  });

  it('ends the answers to HEAD, so that their connection can be used again', async () => {
    const paths = [
      `/c/${code}`,
      `/i/${code}.gif`,
      '/afflux.js',
      '/c/unknown',
      '/afflux.js',
      '/nothing',
      `/i/${code}.gif`,
    ];
    const socket = await open();
    const answers: string[] = [];
    for (const path of paths) {
      answers.push(await exchange(socket, Buffer.from(`HEAD ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)));
    }
    expect(answers).toEqual(['302', '200', '200', '404', '200', '404', '200']);
  });

  it('answers random requests without an error of its own', { timeout: 600_000 }, async () => {
    const seed = 20_261_122;
    const draw = createDraw(seed);
    const perSocket = 50;
    const answers = new Map<string, number>();
    let sent = 0;
    while (sent < RANDOM_REQUESTS) {
      const batch = await Promise.all(Array.from({ length: 64 }, open));
      await Promise.all(
        batch.map(async (socket) => {
          for (let i = 0; i < perSocket && !socket.destroyed; i++) {
            sent++;
            const status = await exchange(socket, randomRequest(draw));
            answers.set(status, (answers.get(status) ?? 0) + 1);
            if (status === 'closed' || status === 'silent') break;
          }
          socket.destroy();
        }),
      );
    }
    expect(await good()).toBe(302);
    // 505 is how uWebSockets answers what is not HTTP/1.1 at all.
    const faults = [...answers.keys()].filter((status) => status.startsWith('5') && status !== '505');
    expect(faults, `seed ${seed}: ${JSON.stringify([...answers])}`).toEqual([]);
    for (const status of ['302', '200', '404', '414']) expect(answers.get(status) ?? 0).toBeGreaterThan(20);
  });
});

/** Every random request that gets no answer, such as half of one, costs this. */
const SILENCE_MS = 50;
/** For requests that must be answered, on a busy machine too. */
const ANSWER_MS = 5_000;

/** Sends bytes; gives the status of the answer, or that there was none in time. */
async function exchange(socket: Socket, bytes: Buffer, timeoutMs = SILENCE_MS): Promise<string> {
  return await new Promise((resolve) => {
    const timer = setTimeout(() => finish('silent'), timeoutMs);
    const onData = (part: Buffer) => finish(part.toString('latin1', 9, 12));
    const onClose = () => finish('closed');
    function finish(status: string): void {
      clearTimeout(timer);
      socket.off('data', onData).off('close', onClose);
      resolve(status);
    }
    socket.on('data', onData).on('close', onClose).write(bytes);
  });
}

type Draw = (below: number) => number;

/** mulberry32: numbers that only depend on the seed. */
function createDraw(seed: number): Draw {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below;
  };
}

function pick<T>(draw: Draw, values: readonly [T, ...T[]]): T {
  return values[Math.floor(draw(values.length))] ?? values[0];
}

/** A request that is nearly right: each part is mostly good, sometimes long, binary or out of place. */
function randomRequest(draw: Draw): Buffer {
  const noise = (length: number) =>
    Array.from({ length }, () => String.fromCharCode(Math.floor(draw(256)))).join('');
  const printable = (length: number) =>
    Array.from({ length }, () => String.fromCharCode(33 + Math.floor(draw(94)))).join('');
  const lottery = () => draw(100);
  const method = lottery() < 90 ? 'GET' : pick(draw, ['HEAD', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'BREW', '']);
  const path = pick(draw, [
    '/c/good',
    '/c/good',
    '/c/good',
    '/i/good.gif',
    '/afflux.js',
    '/healthz',
    '/c/',
    '/i/',
  ]);
  const tail = pick(draw, ['', '', printable(Math.floor(draw(80))), '%', '%00', '/', '//..']);
  const names = ['sub1', 'sub5', 'utm_source', 'gclid', '', printable(5)] as const;
  const parameter = () => `${pick(draw, names)}=${printable(Math.floor(draw(60))).replace('#', '%')}`;
  const query = Array.from({ length: Math.floor(draw(6)) }, parameter).join('&');
  const long = lottery() < 4 ? 'q'.repeat(8_200) : '';
  const header = () =>
    `${pick(draw, ['User-Agent', 'Accept-Language', 'Referer', 'DNT', 'Sec-GPC', 'Sec-Purpose', 'X-Forwarded-For', 'Cookie', 'If-None-Match'])}: ${
      lottery() < 95 ? printable(Math.floor(draw(100))) : noise(40).replaceAll(/[\r\n]/g, '')
    }\r\n`;
  const headers = Array.from({ length: Math.floor(draw(8)) }, header).join('');
  const version = lottery() < 99 ? 'HTTP/1.1' : pick(draw, ['HTTP/1.0', 'HTTP/2', '', 'ICY']);
  const host = lottery() < 99 ? 'Host: go.shop.test\r\n' : '';
  const end = lottery() < 99.5 ? '\r\n' : '';
  const target = `${path}${tail.replaceAll(/[ #?]/g, '')}${query || long ? '?' : ''}${query}${long}`;
  return Buffer.from(`${method} ${target} ${version}\r\n${host}${headers}${end}`, 'latin1');
}
