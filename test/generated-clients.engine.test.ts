import { type SpawnOptions, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { startTestApi, type Tenant, type TestApi } from './support/api.ts';

/**
 * Clients that common generators make of the OpenAPI document list, create, page and report, unpatched. The generators
 * come from npm, PyPI and the Go proxy, so this is part of the long run; by hand:
 * `AFFLUX_TEST_CLIENTS=1 npx vitest run test/generated-clients`. Default: 0.
 */
const isOn = Number(process.env.AFFLUX_TEST_CLIENTS ?? 0) > 0;

/** What each generator is, exactly. */
const NPM = [
  '@hey-api/openapi-ts@0.95.0',
  'openapi-typescript@7.13.0',
  'openapi-fetch@0.17.0',
  'typescript@5.9.3',
  'esbuild@0.25.12',
  '@types/node@20.19.43',
];
const PYPI = ['openapi-python-client==0.29.1'];
const GO = 'github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2';
const GO_RUNTIME = 'github.com/oapi-codegen/runtime@v1.9.0';

/** To fetch, generate, compile and run. */
const CLIENT_MS = 600_000;

let api: TestApi;
let shop: Tenant;
let folder: string;

beforeAll(async () => {
  if (!isOn) return;
  folder = mkdtempSync(join(tmpdir(), 'afflux-clients-'));
  api = await startTestApi();
  shop = await api.tenant('shop');
  for (let i = 0; i < 4; i++) {
    await api.call('POST', '/v1/links', {
      key: shop.keys.operator,
      json: { ...parties(), landing_url: 'https://shop.example/' },
    });
  }
  writeFileSync(join(folder, 'openapi.json'), (await api.call('GET', '/openapi.json')).text);
  cpSync(fromProject('test/fixtures/clients'), folder, { recursive: true });
});
afterAll(async () => {
  await api?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

function parties() {
  return { campaign_id: `cmp_${shop.campaignId}`, affiliate_id: `aff_${shop.affiliateId}` };
}

/** Runs a command to its end and returns what it printed. @throws Error with all that it said. */
function run(command: string, args: readonly string[], env: SpawnOptions['env'] = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: folder, env: { ...process.env, ...env } });
    let [out, all] = ['', ''];
    child.stdout.on('data', (chunk) => {
      out += chunk;
      all += chunk;
    });
    child.stderr.on('data', (chunk) => {
      all += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0
        ? resolve(out)
        : reject(new Error(`${command} ${args.join(' ')}: ${code}\n${all.slice(-4_000)}`)),
    );
  });
}

async function has(command: string): Promise<boolean> {
  const found = await run(command, [command === 'go' ? 'version' : '--version']).then(
    () => true,
    () => false,
  );
  if (!found) process.stderr.write(`\nNOT TESTED: the client of ${command}, which is not installed here.\n`);
  return found;
}

/** What a client says that it saw, compared with what is there. */
async function expectWork(output: string, { magic = true } = {}): Promise<void> {
  const said = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  const { body } = await api.call('GET', '/v1/links?limit=1000', { key: shop.keys.operator });
  const all = (body.data as { code: string }[]).map(({ code }) => code);
  const created = said.created[0] as string;
  expect(said.codes.length).toBeGreaterThan(4);
  expect([...said.codes, created]).toEqual(all);
  expect(said.pages.slice(0, -1).every((rows: number) => rows === 2)).toBe(true);
  expect(said.created[1]).toBeNull();
  expect(said.rows).toEqual([]);
  expect(said.totals).toMatchObject({ clicks: 0, valid_clicks: 0 });
  expect(said.refused).toBe('limit');
  if (magic) expect(said.magic).toBe('PAR1');
}

function environment() {
  const { campaign_id, affiliate_id } = parties();
  return { API_URL: api.url, API_KEY: shop.keys.operator, CAMPAIGN: campaign_id, AFFILIATE: affiliate_id };
}

/** Type-checks a program against its client, then runs it. */
async function runTypeScript(file: string): Promise<void> {
  // Under a name that the project's own checks pass over: its client is not there.
  renameSync(join(folder, `${file}.ts.txt`), join(folder, `${file}.ts`));
  const bin = (name: string) => join(folder, 'node_modules/.bin', name);
  const checks = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--target',
    'es2022',
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
    '--types',
    'node',
  ];
  await run(bin('tsc'), [...checks, `${file}.ts`]);
  const bundle = ['--bundle', '--platform=node', '--format=esm', `--outfile=${file}.mjs`];
  await run(bin('esbuild'), [`${file}.ts`, ...bundle, '--log-level=error']);
  await expectWork(await run('node', [`${file}.mjs`], environment()));
}

describe.runIf(isOn)('a client made by', () => {
  beforeAll(async () => {
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
    await run('npm', ['install', '--no-audit', '--no-fund', '--save-exact', ...NPM]);
  }, CLIENT_MS);

  test('openapi-typescript', { timeout: CLIENT_MS }, async () => {
    await run('npx', ['--no-install', 'openapi-typescript', 'openapi.json', '-o', 'types.ts']);
    await runTypeScript('openapi-fetch');
  });

  test('hey-api', { timeout: CLIENT_MS }, async () => {
    await run('npx', ['--no-install', 'openapi-ts', '-i', 'openapi.json', '-o', 'hey']);
    await runTypeScript('hey-api');
  });

  test('openapi-python-client', { timeout: CLIENT_MS }, async ({ skip }) => {
    if (!(await has('python3'))) skip('no python3');
    await run('python3', ['-m', 'venv', 'venv']);
    await run('venv/bin/pip', ['install', '--quiet', ...PYPI]);
    const generate = [
      'generate',
      '--path',
      'openapi.json',
      '--meta',
      'none',
      '--output-path',
      'afflux_client',
    ];
    await run('venv/bin/openapi-python-client', generate);
    await expectWork(await run('venv/bin/python', ['main.py'], environment()), { magic: false });
  });

  test('oapi-codegen', { timeout: CLIENT_MS }, async ({ skip }) => {
    if (!(await has('go'))) skip('no go');
    await run('go', ['install', GO], { GOBIN: folder });
    await run(join(folder, 'oapi-codegen'), [
      '-generate',
      'types,client',
      '-package',
      'main',
      '-o',
      'client.gen.go',
      'openapi.json',
    ]);
    await run('go', ['mod', 'init', 'client']);
    await run('go', ['get', GO_RUNTIME]);
    await run('go', ['mod', 'tidy']);
    await expectWork(await run('go', ['run', '.'], environment()));
  });
});

test.skipIf(isOn)('generated clients are tested in the long run only: AFFLUX_TEST_CLIENTS=1', ({ skip }) => {
  skip('it installs generators');
});
