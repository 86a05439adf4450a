import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromProject } from '../../core/config/paths.ts';
import { startMeasured } from '../collector/process.ts';
import { createConventionalLinks } from './conventional-schema.ts';
import { openDjango } from './django.ts';
import { CORES, Missing, type OpenPeer, type Peer, type PeerFixture, VISIT_URL } from './peer.ts';
import { clicksInPostgres, createDatabase } from './postgres-store.ts';
import { requireProgram } from './programs.ts';

/** What somebody would use instead of Afflux, from nothing stored to everything committed. */
export const OTHERS: readonly Peer[] = [
  {
    name: 'bare uWebSockets.js',
    durability: 'nothing is stored',
    open: () =>
      Promise.resolve({
        stores: [],
        start: (port) =>
          startMeasured({
            command: [process.execPath, fromProject('dist/loadtest/collector/bare-uws.js'), String(port)],
            core: CORES,
            url: `http://127.0.0.1:${port}/`,
          }),
        bytes: () => Promise.resolve(0),
        close: () => Promise.resolve(),
      }),
  },
  {
    name: 'nginx, buffered access log',
    durability: "in the process's memory for up to 1 s",
    open: (fixture) => openNginx(fixture, 'buffered', 'buffer=64k flush=1s'),
  },
  {
    name: 'nginx, access log',
    durability: "in the process's memory for a moment, then in the kernel's page cache",
    open: (fixture) => openNginx(fixture, 'unbuffered', ''),
  },
  {
    name: 'Fastify, one INSERT, awaited',
    durability: 'committed by PostgreSQL',
    open: (fixture) => openConventional(fixture, 'awaited'),
  },
  {
    name: 'Fastify, one INSERT, not awaited',
    durability: "in the process's memory, however long its queue",
    open: (fixture) => openConventional(fixture, 'not-awaited'),
  },
  {
    name: 'Go, COPY in batches',
    durability: "in the process's memory for up to 50 ms and a COPY",
    open: (fixture) => openGo(fixture, []),
  },
  {
    name: 'Go, COPY in batches, awaited',
    durability: 'committed by PostgreSQL',
    open: (fixture) => openGo(fixture, ['-await']),
  },
  {
    name: 'django-link-shortener',
    durability: 'committed by PostgreSQL, as one more in a counter',
    open: (fixture) => openDjango(fixture, 'shortener'),
  },
  {
    name: 'django-clickify',
    durability: 'committed by PostgreSQL, without its Referer',
    open: (fixture) => openDjango(fixture, 'clickify'),
  },
];

const GO_FOLDER = fromProject('loadtest/peers/go');

async function openConventional(fixture: PeerFixture, mode: 'awaited' | 'not-awaited'): Promise<OpenPeer> {
  const url = await createDatabase(fixture, `conventional_${mode.replace('-', '_')}`);
  await createConventionalLinks(url, fixture.links);
  return {
    ...clicksInPostgres(fixture, url),
    start: (port) =>
      startMeasured({
        command: [
          process.execPath,
          fromProject('dist/loadtest/peers/conventional-server.js'),
          String(port),
          url,
          mode,
        ],
        core: CORES,
        url: `http://127.0.0.1:${port}/c/none`,
      }),
  };
}

async function openGo(fixture: PeerFixture, flags: readonly string[]): Promise<OpenPeer> {
  requireProgram('go', 'version');
  const binary = join(fixture.folder, 'go-clicks');
  const env = { ...process.env, ...(fixture.mayInstall ? {} : { GOPROXY: 'off' }) };
  await promisify(execFile)('go', ['build', '-o', binary, '.'], { cwd: GO_FOLDER, env }).catch(
    (error: { stderr: string }) => {
      throw new Missing('go', `go build says: ${error.stderr}`, { cause: error });
    },
  );
  const url = await createDatabase(fixture, `go${flags.join('').replace('-', '_')}`);
  await createConventionalLinks(url, fixture.links);
  return {
    ...clicksInPostgres(fixture, url),
    start: (port) =>
      startMeasured({
        command: [binary, '-listen', `127.0.0.1:${port}`, '-database', url, ...flags],
        core: CORES,
        url: `http://127.0.0.1:${port}/`,
      }),
  };
}

/** Writes what a click tells, as the others do, to the access log; the click id is nginx's id of the request. */
async function openNginx(fixture: PeerFixture, name: string, logOptions: string): Promise<OpenPeer> {
  requireProgram('nginx', '-v');
  const folder = join(fixture.folder, `nginx-${name}`);
  mkdirSync(folder);
  const accessLog = join(folder, 'access.log');
  writeFileSync(
    join(folder, 'links.map'),
    fixture.links.map(({ code, landingUrl }) => `/c/${code} "${landingUrl}";\n`).join(''),
  );
  return {
    stores: [],
    start(port) {
      writeFileSync(join(folder, 'nginx.conf'), nginxConfig({ folder, port, accessLog, logOptions }));
      return startMeasured({
        command: ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf')],
        core: CORES,
        url: `http://127.0.0.1:${port}/`,
      });
    },
    count: async () => Number((await grep('-c', '^click ', accessLog)) || 0),
    async visits() {
      const found = await grep('-o', `${VISIT_URL}[0-9]*`, accessLog);
      return found.split('\n').flatMap((url) => (url === '' ? [] : [Number(url.slice(VISIT_URL.length))]));
    },
    bytes: () => Promise.resolve(statSync(accessLog).size),
    close: () => Promise.resolve(),
  };
}

function nginxConfig(options: {
  folder: string;
  port: number;
  accessLog: string;
  logOptions: string;
}): string {
  const { folder, port, accessLog, logOptions } = options;
  return `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr error;
events { worker_connections 4096; }
http {
  map_hash_max_size 131072; map_hash_bucket_size 128;
  map $uri $landing { default ""; include ${folder}/links.map; }
  log_format clicks 'click $request_id $msec $remote_addr "$request" "$http_referer" "$http_user_agent" "$http_accept_language"';
  keepalive_requests 100000000;
  server {
    listen 127.0.0.1:${port};
    access_log off;
    location / { return 404; }
    location /c/ {
      if ($landing = "") { return 404; }
      access_log ${accessLog} clicks ${logOptions};
      add_header Cache-Control no-store always;
      add_header Set-Cookie "aff_click=$request_id; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax" always;
      return 302 "$landing&click_id=$request_id";
    }
  }
}
`;
}

const MAX_GREP_BYTES = 1024 ** 3;

/** What grep prints; '' when it finds nothing or there is no file yet. */
async function grep(how: '-c' | '-o', pattern: string, file: string): Promise<string> {
  if (!existsSync(file)) return '';
  const options = { maxBuffer: MAX_GREP_BYTES };
  return await promisify(execFile)('grep', [how, pattern, file], options).then(
    ({ stdout }) => stdout,
    (error: { code: number }) => {
      // 1: nothing was found.
      if (error.code === 1) return '';
      throw error;
    },
  );
}
