import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../engines/engine.ts';
import { createLink } from '../ledger/programs/links.ts';
import { startTestApi, type Tenant, type TestApi } from './support/api.ts';
import { type CollectorUnderTest, prepareCollector } from './support/collector.ts';
import { waitFor } from './support/engines.ts';
import { hasProxy } from './support/programs.ts';

/** As docs/proxies.md has them; each listens at `from` and leads to `to`. */
const PROXIES = {
  'HAProxy, mode http, option forwardfor': {
    program: 'haproxy',
    config: (from: number, to: number) =>
      haproxy('http', from, `option forwardfor\n  server s 127.0.0.1:${to}`),
  },
  'HAProxy, mode tcp, send-proxy-v2': {
    program: 'haproxy',
    config: (from: number, to: number) => haproxy('tcp', from, `server s 127.0.0.1:${to} send-proxy-v2`),
  },
  nginx: {
    program: 'nginx',
    config: (from: number, to: number, folder: string) =>
      `daemon off; pid ${folder}/pid; error_log stderr error; events {}
http { access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 127.0.0.1:${from}; location / { proxy_pass http://127.0.0.1:${to}; proxy_http_version 1.1;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } } }`,
  },
} as const;
type Proxy = keyof typeof PROXIES;

const haproxy = (mode: string, from: number, rest: string): string => `defaults
  mode ${mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen l
  bind 127.0.0.1:${from}
  ${rest}
`;

/** Starts a proxy in front of a port. */
async function startProxy(name: Proxy, to: number): Promise<{ port: number; stop(): Promise<void> }> {
  const { program, config } = PROXIES[name];
  const folder = mkdtempSync(join(tmpdir(), 'afflux-proxy-'));
  const port = await freePort();
  const file = join(folder, 'config');
  writeFileSync(file, config(port, to, folder));
  const args = program === 'nginx' ? ['-p', folder, '-c', file] : ['-db', '-f', file];
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  await waitFor(() => answers(port), { deadlineMs: 10_000, what: name });
  return {
    port,
    async stop() {
      child.kill('SIGTERM');
      await waitFor(() => child.exitCode !== null || child.signalCode !== null, {
        deadlineMs: 10_000,
        what: `the end of ${name}`,
      });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });

/** One request on a connection of its own, from an address of loopback that is no trusted proxy. */
function ask(port: number, path: string, headers: readonly string[] = []): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' }, () =>
      socket.write(
        [`GET ${path} HTTP/1.1`, 'Host: go.test', 'Connection: close', ...headers, '', ''].join('\r\n'),
      ),
    );
    socket.on('data', (part) => {
      answer += part.toString();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

/** Of a visitor who would like to be somebody else; all but the last hop's own word is worth nothing. */
const FORGED = [
  ['X-Forwarded-For: 8.8.8.8'],
  ['X-Forwarded-For: 8.8.8.8', 'X-Forwarded-For: 1.2.3.4, 127.0.0.1'],
  ['X-Forwarded-For: unknown'],
  ['X-Forwarded-For: "'],
  ['Forwarded: for=8.8.8.8'],
];
const LINKS = 100;

describe.each(Object.keys(PROXIES) as Proxy[])('a visitor forges forwarded addresses behind %s', (name) => {
  const { program } = PROXIES[name];
  let world: CollectorUnderTest;
  let collector: { stop(): Promise<void> };
  let isThere = false;
  beforeAll(async () => {
    isThere = hasProxy(program);
    world = await prepareCollector();
    collector = await world.start({ trustedProxies: ['127.0.0.1'] });
  });
  afterAll(async () => {
    await collector.stop();
    await world.dispose();
  });

  it('and each click is redirected and stored with the right address', async (test) => {
    if (!isThere) test.skip();
    const landing = { landingUrl: 'https://shop.test/?ip={ip}' };
    const ids = { campaignId: world.campaign.id, affiliateId: world.affiliate.id };
    const { code } = await createLink(world.ledger, { ...ids, ...landing });
    await waitFor(
      async () => (await fetch(`${world.url}/c/${code}`, { redirect: 'manual' })).status === 302,
      {
        deadlineMs: 10_000,
        what: 'the link',
      },
    );
    const before = (await world.storedClicks()).length;
    const proxy = await startProxy(name, world.config.collectorPort);
    try {
      const got = new Map<string, number>();
      for (let i = 0; i < LINKS; i++) {
        const answer = await ask(proxy.port, `/c/${code}`, i % 2 === 0 ? [] : FORGED[i % FORGED.length]);
        const status = answer.slice(9, 12);
        const key = `${status} ${/ip=([^&\r]*)/.exec(answer)?.[1]}`;
        got.set(key, (got.get(key) ?? 0) + 1);
      }
      expect([...got]).toEqual([['302 127.0.0.2', LINKS]]);
      expect((await world.storedClicks()).length - before).toBe(LINKS);
    } finally {
      await proxy.stop();
    }
  });
});

describe.each(['HAProxy, mode http, option forwardfor', 'nginx'] as const)(
  'a shop sends forwarded addresses of its own through %s to the API',
  (name) => {
    let api: TestApi;
    let tenant: Tenant;
    beforeAll(async () => {
      api = await startTestApi();
      tenant = await api.tenant('proxied');
    });
    afterAll(() => api.stop());

    it('and each order is taken and logged with the right address', async (test) => {
      if (!hasProxy(PROXIES[name].program)) test.skip();
      const proxy = await startProxy(name, Number(new URL(api.url).port));
      try {
        for (const [i, headers] of FORGED.entries()) {
          const path = `/postback?key=${tenant.keys.advertiser}&order_id=p-${i}&amount=1&currency=EUR`;
          expect((await ask(proxy.port, path, headers)).slice(9, 12)).toBe('200');
        }
        const rows = await api.ledger<{ ip: string | null }[]>`
          select ip from postback_calls where program_id = ${tenant.programId} and outcome = 'accepted'`;
        expect(rows.map(({ ip }) => ip)).toEqual(FORGED.map(() => '127.0.0.2'));
      } finally {
        await proxy.stop();
      }
    });
  },
);
