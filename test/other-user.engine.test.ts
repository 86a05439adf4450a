import { spawnSync } from 'node:child_process';
import { chownSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clicksStream } from '../core/clicks/shards.ts';
import { connectNats, ensureStreams } from '../core/clicks/stream.ts';
import { ENGINE_ID } from '../core/config/home.ts';
import { projectRoot } from '../core/config/paths.ts';
import { unpackDataFolder } from './support/data-folder.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { reportMissing } from './support/programs.ts';

/** Another account of the machine, without a right of its own, against a running platform. */

const OTHER_ID = 65_534;
/** Its bit in a mask of capabilities. */
const CAP_DAC_READ_SEARCH = 1n << 2n;
const isRoot = process.getuid?.() === 0;
if (!isRoot) reportMissing('root', 'that other accounts of the machine reach nothing of a platform');

let platform: TestPlatform;
let home: string;
let secrets: string[];

/** Runs JavaScript (an ES module) as the other account; `args` are its `process.argv.slice(1)`. */
function asOther(script: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script, ...args],
    {
      uid: OTHER_ID,
      gid: OTHER_ID,
      cwd: '/',
      env: {},
      encoding: 'utf8',
      timeout: 30_000,
    },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** What lies in a folder of the platform, by find(1): what vanishes meanwhile does not trouble it. */
function filesIn(folder: string): { type: string; uid: number; path: string }[] {
  const { stdout } = spawnSync('find', [folder, '-mindepth', '1', '-printf', '%y %U %p\n'], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 ** 2,
  });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [type = '', uid = '', ...path] = line.split(' ');
      return { type, uid: Number(uid), path: path.join(' ') };
    });
}

/** Processes of the platform: their command line or environment names its data folder, or their parent is one of them. */
function platformProcesses(): { pid: number; line: string; uid: number; capabilities: bigint }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        if (!line.includes(home) && !readFileSync(`/proc/${pid}/environ`, 'utf8').includes(home)) return [];
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        const field = (name: string) => new RegExp(`^${name}:\\s+(\\w+)`, 'm').exec(status)?.[1] ?? '';
        return [
          { pid: Number(pid), line, uid: Number(field('Uid')), capabilities: BigInt(`0x${field('CapEff')}`) },
        ];
      } catch {
        // It has just ended.
        return [];
      }
    });
}

describe.skipIf(!isRoot)('another account of the machine', { tags: ['attack'] }, () => {
  beforeAll(async () => {
    platform = await startPlatform({
      demo: false,
      async prepare(folder) {
        home = folder;
        // As root ran it before: every folder is root's, but for that of PostgreSQL.
        unpackDataFolder(folder);
        chownSync(join(folder, 'postgres'), OTHER_ID, OTHER_ID);
        for (const name of readdirSync(join(folder, 'postgres'), { recursive: true })) {
          chownSync(join(folder, 'postgres', String(name)), OTHER_ID, OTHER_ID);
        }
      },
    });
    const stored = JSON.parse(readFileSync(join(home, 'secrets.json'), 'utf8')) as Record<string, string>;
    secrets = Object.values(stored);
  });
  afterAll(() => platform?.stop());

  test('reads a file of the data folder', () => {
    const files = filesIn(home).map(({ path }) => path);
    const found = asOther(
      `import { accessSync, constants } from 'node:fs';
       for (const path of process.argv.slice(1)) {
         try { accessSync(path, constants.R_OK); console.log(path); } catch {}
       }`,
      home,
      ...files.slice(0, 5_000),
    );
    expect(files.length).toBeGreaterThan(100);
    expect(found).toBe('');
  });

  test('leaves nothing in it open, and nothing of an engine with root', () => {
    const { mode, gid } = lstatSync(home);
    // The group is the engines' own: no account is in it.
    expect([mode & 0o777, gid]).toEqual([0o710, ENGINE_ID]);
    for (const name of readdirSync(home)) {
      if (name !== 'bin') expect([name, lstatSync(join(home, name)).mode & 0o077]).toEqual([name, 0]);
    }
    for (const engine of ['postgres', 'clickhouse', 'nats']) {
      const owners = filesIn(join(home, engine)).map(({ uid }) => uid);
      expect([engine, new Set(owners)]).toEqual([engine, new Set([ENGINE_ID])]);
    }
  });

  test('queries ClickHouse, or makes it open a file', () => {
    const { clickhousePort, clickhousePassword } = platform.config;
    const answers = JSON.parse(
      asOther(
        `const [port, file, ...keys] = process.argv.slice(1);
         const ask = async (query, password) => {
           const answer = await fetch('http://127.0.0.1:' + port + '/', {
             method: 'POST', body: query, headers: password ? { 'X-ClickHouse-Key': password } : {} });
           return [answer.status, await answer.text()];
         };
         const read = "SELECT * FROM file('" + file + "', 'LineAsString')";
         console.log(JSON.stringify([
           await ask('SELECT 1'), await ask(read), await ask('SELECT count() FROM afflux.clicks', 'guess'),
           await ask("INSERT INTO afflux.clicks (seq) VALUES (1)"),
           await ask(read, keys[0]), await ask("SELECT file('" + file + "')", keys[0])]));`,
        String(clickhousePort),
        join(home, 'secrets.json'),
        clickhousePassword,
      ),
    ) as [number, string][];
    expect(answers.map(([status]) => status)).toEqual([403, 403, 403, 403, 403, 403]);
    for (const [, text] of answers) for (const secret of secrets) expect(text).not.toContain(secret);
  });

  test('publishes, purges or reads leases in NATS', async () => {
    const nc = await connectNats({ url: platform.config.natsUrl, name: 'test' });
    try {
      const streams = (await ensureStreams(nc)).streams;
      const before = (await streams.info(clicksStream(0))).state;
      for (const login of ['{}', '{"user":"afflux","pass":""}', '{"user":"afflux","pass":"guess"}']) {
        const answer = asOther(
          `import { connect } from 'node:net';
           const [port, login] = process.argv.slice(1);
           const socket = connect(Number(port), '127.0.0.1', () => socket.write('CONNECT ' + login + '\\r\\n' +
             'SUB r 1\\r\\nPUB $JS.API.STREAM.PURGE.CLICKS r 0\\r\\n\\r\\nPUB afflux.clicks.0 r 1\\r\\nx\\r\\n' +
             'PUB $JS.API.DIRECT.GET.KV_afflux_leases r 34\\r\\n{"last_by_subj":"$KV.afflux_leases.>"}\\r\\nPING\\r\\n'));
           socket.on('data', (bytes) => process.stdout.write(bytes));
           socket.on('error', () => undefined);
           socket.on('close', () => process.exit(0));`,
          String(platform.config.natsPort),
          login,
        );
        expect(answer).toContain("-ERR 'Authorization Violation'");
        expect(answer).not.toContain('MSG');
      }
      const after = (await streams.info(clicksStream(0))).state;
      expect([after.first_seq, after.messages]).toEqual([before.first_seq, before.messages]);
    } finally {
      await nc.close();
    }
  });

  test('logs in to PostgreSQL', () => {
    const answer = asOther(
      `import { connect } from 'node:net';
       const text = Buffer.from('\\0\\x03\\0\\0user\\0postgres\\0database\\0afflux\\0\\0', 'latin1');
       const length = Buffer.alloc(4);
       length.writeInt32BE(text.length + 4);
       const socket = connect(Number(process.argv[1]), '127.0.0.1', () => socket.write(Buffer.concat([length, text])));
       socket.once('data', (bytes) => { console.log(bytes[0], bytes.readInt32BE(5)); socket.destroy(); });`,
      String(platform.config.postgresPort),
    );
    // 'R', and 10: a password by SASL, not 0: welcome.
    expect(answer.trim()).toBe(`${'R'.charCodeAt(0)} 10`);
  });

  test('finds a socket in the file system, or one that another machine reaches', () => {
    expect(filesIn(home).filter(({ type }) => type === 's')).toEqual([]);
    const { clickhousePort, natsPort, postgresPort, loaderPort, attributionPort, schedulerPort } =
      platform.config;
    for (const port of [clickhousePort, natsPort, postgresPort, loaderPort, attributionPort, schedulerPort]) {
      const hex = port.toString(16).toUpperCase().padStart(4, '0');
      const listening = ['/proc/net/tcp', '/proc/net/tcp6']
        .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
        .filter((line) => /^\s*\d+: \S+ \S+ 0A /.test(line) && line.includes(`:${hex} `))
        .map((line) => line.trim().split(/\s+/)[1]);
      expect([port, listening]).toEqual([port, [`0100007F:${hex}`]]);
    }
  });

  test('reads a secret of a process, or ends one', () => {
    const processes = platformProcesses();
    const engines = processes.filter(({ line }) => /clickhouse-server|nats-server|postgres -D/.test(line));
    expect(engines).toHaveLength(3);
    const ids = { uid: ENGINE_ID, gid: ENGINE_ID };
    const isOpen = spawnSync('/bin/sh', ['-c', 'cd "$0"', projectRoot], ids).status === 0;
    for (const { line, uid, capabilities } of engines) {
      // A checkout, or the nats-server of the tests, in a closed folder takes the one capability to reach it.
      const mayReach = !isOpen || line.includes('nats-server');
      expect([line, uid]).toEqual([line, ENGINE_ID]);
      expect(mayReach ? [0n, CAP_DAC_READ_SEARCH] : [0n]).toContain(capabilities);
    }
    const pids = processes.map(({ pid }) => String(pid));
    const seen = asOther(
      `import { readFileSync } from 'node:fs';
       for (const pid of process.argv.slice(1)) {
         process.stdout.write(readFileSync('/proc/' + pid + '/cmdline'));
         for (const name of ['environ', 'maps', 'mem', 'fd/1', 'cwd/x']) {
           try { process.stdout.write(readFileSync('/proc/' + pid + '/' + name)); console.log('READ', name); } catch {}
         }
         try { process.kill(Number(pid), 0); console.log('ENDED'); } catch {}
       }`,
      ...pids,
    );
    expect(seen).toContain(home);
    expect(seen).not.toMatch(/READ|ENDED/);
    for (const secret of secrets) expect(seen).not.toContain(secret);
  });

  test('reads the figures of a process', () => {
    const { collectorPort, apiPort, loaderPort, attributionPort, schedulerPort } = platform.config;
    const ports = [collectorPort, apiPort, loaderPort, attributionPort, schedulerPort];
    const answers = asOther(
      `for (const port of process.argv.slice(1)) {
         const answer = await fetch('http://127.0.0.1:' + port + '/metrics');
         console.log(answer.status, (await answer.text()).includes('process_cpu'));
       }`,
      ...ports.map(String),
    );
    expect(answers.trim().split('\n')).toEqual(ports.map(() => '401 false'));
  });
});
