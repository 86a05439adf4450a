import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type RuleGroup,
  type StandIn,
  type StandInOptions,
  startStandIn,
} from '../../../test/support/grafana/stand-in.ts';
import { grafanaEnvironment, provisioningFiles, writeFiles } from './files.ts';
import { installByApi } from './grafana-api.ts';
import type { BoardJson, Setup } from './setup.ts';

/** What a Grafana is given: by its API, of which there is a stand-in here, and by its files. */

const SECRETS = {
  clickhouse: 'click-secret',
  postgres: 'ledger-secret',
  webhook: 'https://hook.example/k3y',
};
const SETUP: Setup = {
  clickhouse: {
    host: '127.0.0.1',
    port: 18_123,
    database: 'afflux',
    user: 'reader',
    password: SECRETS.clickhouse,
    secure: false,
    ca: '',
  },
  postgres: {
    host: '::1',
    port: 54_320,
    database: 'afflux',
    user: 'afflux_grafana',
    password: SECRETS.postgres,
    sslmode: 'disable',
    ca: '',
  },
  prometheusUrl: 'http://127.0.0.1:9090',
  portalUrl: 'https://partners.example/portal',
  contacts: { mail: ['ops@shop.example', 'night@shop.example'], webhook: SECRETS.webhook },
};
const NO_CONTACT: Setup = { ...SETUP, contacts: { mail: [], webhook: '' } };

describe('by the API', () => {
  let standIn: StandIn | undefined;
  afterEach(async () => {
    await standIn?.close();
    standIn = undefined;
  });

  async function started(options: Partial<StandInOptions> = {}): Promise<StandIn> {
    standIn = await startStandIn({ token: 'right', pluginVersion: '4.20.0', ...options });
    return standIn;
  }

  test('everything is made once, and a repetition changes nothing', async () => {
    const { url, kept, calls } = await started({ under: '/grafana' });
    const first = await installByApi({ setup: SETUP, url: `${url}/`, token: 'right' });
    expect(first).toMatchObject({
      grafanaVersion: '13.2.3',
      pluginVersion: '4.20.0',
      dataSources: 3,
      contacts: 2,
    });
    expect(first.boards).toBeGreaterThanOrEqual(5);
    expect(first.alerts).toBeGreaterThanOrEqual(12);
    const made = new Map(kept);
    expect([...made.keys()].filter((key) => key.startsWith('/api/dashboards/'))).toHaveLength(first.boards);
    const madeBy = calls.filter((call) => /^POST \/api\/(datasources|folders|v1)/.test(call));
    expect(madeBy).toHaveLength(3 + 2 + 2);

    calls.length = 0;
    expect(await installByApi({ setup: SETUP, url, token: 'right' })).toEqual(first);
    expect(kept).toEqual(made);
    expect(calls.filter((call) => /^POST \/api\/(datasources|folders|v1)/.test(call))).toEqual([]);
  });

  test('every rule tells the contact point and leads to its panel; without one the policies of Grafana hold', async () => {
    const { url, kept } = await started();
    const rules = (): RuleGroup['rules'] =>
      [...kept].flatMap(([key, value]) => (key.includes('/rule-groups/') ? (value as RuleGroup).rules : []));
    const contacts = (): string[] => [...kept.keys()].filter((key) => key.includes('/contact-points/'));
    await installByApi({ setup: SETUP, url, token: 'right' });
    for (const { labels, notification_settings: settings, annotations } of rules()) {
      expect(settings).toMatchObject({
        receiver: 'Afflux',
        repeat_interval: labels.severity === 'page' ? '1h' : '1d',
      });
      const board = kept.get(`/api/dashboards/uid/${annotations.__dashboardUid__}`) as {
        dashboard: { panels: { id: number }[] };
      };
      expect(board.dashboard.panels.map(({ id }) => String(id))).toContain(annotations.__panelId__);
    }
    expect(contacts()).toHaveLength(2);

    await installByApi({
      setup: { ...SETUP, contacts: { mail: [], webhook: SECRETS.webhook } },
      url,
      token: 'right',
    });
    expect(contacts()).toEqual(['/api/v1/provisioning/contact-points/afflux-webhook']);
    await installByApi({ setup: NO_CONTACT, url, token: 'right' });
    expect(contacts()).toEqual([]);
    expect(rules().every((rule) => rule.notification_settings === undefined)).toBe(true);
  });

  test.each([
    [{ token: 'other' }, 'grafana_refused', 'Grafana does not know the token of GRAFANA_TOKEN'],
    [
      { mayWrite: false },
      'grafana_refused',
      /^The service account of GRAFANA_TOKEN needs the role Admin: it has no datasources:create/,
    ],
    [
      { mayWrite: false, saysRights: false },
      'grafana_refused',
      /^Grafana answers 403 to POST .*needs the role Admin$/,
    ],
    [
      { pluginVersion: null },
      'grafana_refused',
      'Grafana has no plugin grafana-clickhouse-datasource: install 4.20.0',
    ],
    [
      { pluginVersion: '4.9.11' },
      'grafana_refused',
      "Grafana's plugin grafana-clickhouse-datasource is 4.9.11: install",
    ],
  ])('with %o it says what is wrong', async (options, code, message) => {
    const { url, kept } = await started(options);
    await expect(installByApi({ setup: SETUP, url, token: 'right' })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect([...kept]).toEqual([]);
  });

  test.each([
    ['/api/datasources/uid/afflux-clickhouse', { readOnly: true }, 'data source Afflux ClickHouse'],
    ['/api/dashboards/uid/afflux-money', { meta: { provisioned: true } }, /dashboard \w+/],
    ['/api/v1/provisioning/contact-points/afflux-mail', { provenance: 'file' }, '1 contact points'],
  ])('what files have made is named, before anything is written: %s', async (key, mark, named) => {
    const { url, kept, calls } = await started();
    await installByApi({ setup: SETUP, url, token: 'right' });
    kept.set(key, { ...(kept.get(key) as object), ...mark });
    calls.length = 0;
    await expect(installByApi({ setup: SETUP, url, token: 'right' })).rejects.toMatchObject({
      code: 'grafana_refused',
      message: expect.stringMatching(named),
    });
    expect(calls.filter((call) => !call.startsWith('GET '))).toEqual([]);
  });

  test('a data source of the same name that is not ours is named, before anything is written', async () => {
    const { url, kept } = await started();
    kept.set('/api/datasources/uid/abc', { uid: 'abc', name: 'Afflux ledger' });
    await expect(installByApi({ setup: SETUP, url, token: 'right' })).rejects.toMatchObject({
      message: expect.stringContaining('Afflux ledger with the uid abc'),
    });
    expect(kept.size).toBe(1);
  });

  test('what an earlier version made goes, and what a person has put beside it stays', async () => {
    const { url, kept } = await started();
    await installByApi({ setup: SETUP, url, token: 'right' });
    const made = new Map(kept);
    const groups = '/api/v1/provisioning/folder/afflux-alerts/rule-groups';
    const rule = (ruleGroup: string, service: string): object => ({
      rules: [{ uid: ruleGroup, folderUID: 'afflux-alerts', ruleGroup, labels: { service } }],
    });
    const board = (uid: string): object => ({ dashboard: { uid }, folderUid: 'afflux' });
    const stays = [
      ['/api/dashboards/uid/own', board('own')],
      [`${groups}/own`, rule('own', 'mine')],
    ] as const;
    for (const [key, value] of [
      ...stays,
      ['/api/dashboards/uid/afflux-dropped', board('afflux-dropped')],
      [`${groups}/dropped`, rule('dropped', 'afflux')],
    ] as const) {
      kept.set(key, value);
    }
    await installByApi({ setup: SETUP, url, token: 'right' });
    expect(kept).toEqual(new Map([...made, ...stays]));
  });

  test.each(['4.20.0', '4.20.1', '4.100', '5.0.0-beta1', '10.1.0'])(
    'the plugin %s is new enough',
    async (version) => {
      const { url } = await started({ pluginVersion: version });
      const done = await installByApi({ setup: NO_CONTACT, url, token: 'right' });
      expect(done.pluginVersion).toBe(version);
    },
  );

  test('a server that is none, and one that is not there', async () => {
    const { url } = await started();
    await expect(
      installByApi({ setup: NO_CONTACT, url: `${url}/nowhere`, token: 'right' }),
    ).rejects.toMatchObject({
      code: 'grafana_refused',
    });
    await standIn?.close();
    await expect(installByApi({ setup: NO_CONTACT, url, token: 'right' })).rejects.toMatchObject({
      code: 'grafana_unreachable',
      message: expect.stringContaining(url),
    });
  });
});

describe('by files', () => {
  const files = provisioningFiles(SETUP, '/boards');
  const read = (path: string) => JSON.parse(files.get(path) ?? '');

  test('no file has a secret, and the environment has each that they name', () => {
    const text = [...files.values()].join('');
    for (const secret of Object.values(SECRETS)) expect(text).not.toContain(secret);
    const environment = grafanaEnvironment(SETUP);
    const provisioned = ['datasources', 'alerting'].map((part) => files.get(`${part}/afflux.yaml`)).join('');
    const named = [...provisioned.replaceAll('$$', '').matchAll(/\$\{?(\w+)/g)].map(([, name]) => name);
    expect(new Set(named)).toEqual(new Set(Object.keys(environment)));
    expect(Object.values(environment).sort()).toEqual(Object.values(SECRETS).sort());
  });

  test('the templates of alerts keep their dollars', () => {
    const { groups, contactPoints } = read('alerting/afflux.yaml');
    const rules = groups.flatMap((group: { rules: object[] }) => group.rules);
    expect(JSON.stringify(rules)).toContain('{{ $$values.A }}');
    for (const rule of rules) {
      expect(JSON.stringify(rule).replaceAll('$$', '')).not.toContain('$');
      expect(rule).toMatchObject({ dashboardUid: expect.any(String), panelId: expect.any(Number) });
    }
    expect(contactPoints).toMatchObject([
      {
        name: 'Afflux',
        receivers: [
          { type: 'email', settings: { addresses: 'ops@shop.example;night@shop.example' } },
          { type: 'webhook' },
        ],
      },
    ]);
    expect(
      JSON.parse(provisioningFiles(NO_CONTACT, '/').get('alerting/afflux.yaml') ?? ''),
    ).not.toHaveProperty('contactPoints');
  });

  test('Grafana finds the dashboards, and they the portal', () => {
    expect(read('dashboards/afflux.yaml').providers[0].options.path).toBe('/boards');
    const boards = [...files].filter(([path]) => path.startsWith('dashboards/afflux/Afflux/'));
    expect(boards.length).toBeGreaterThanOrEqual(5);
    const portals = boards.flatMap(([, text]) =>
      (JSON.parse(text) as BoardJson).templating.list.filter(({ name }) => name === 'portal'),
    );
    expect(portals.length).toBeGreaterThan(0);
    for (const { query } of portals) expect(query).toBe('https://partners.example/portal');
  });

  test('those for Grafana are read by every account, those with secrets by ours alone, whatever the umask is', () => {
    const folder = mkdtempSync(join(tmpdir(), 'afflux-grafana-'));
    const before = process.umask(0o077);
    const mode = (path: string): number => statSync(join(folder, path)).mode & 0o777;
    try {
      writeFiles(join(folder, 'open'), files, 'everybody');
      writeFiles(folder, new Map([['grafana.env', 'A=1\n']]), 'owner');
      process.umask(0);
      writeFiles(
        folder,
        new Map([
          ['secret/token', 't'],
          ['grafana.env', 'A=2\n'],
        ]),
        'owner',
      );
      for (const path of files.keys()) {
        expect([path, mode(`open/${path}`), mode(`open/${dirname(path)}`)]).toEqual([path, 0o644, 0o755]);
      }
      expect([mode('open'), mode('grafana.env'), mode('secret'), mode('secret/token')]).toEqual([
        0o755, 0o600, 0o700, 0o600,
      ]);
      expect(readFileSync(join(folder, 'grafana.env'), 'utf8')).toBe('A=2\n');
    } finally {
      process.umask(before);
      rmSync(folder, { recursive: true });
    }
  });
});
