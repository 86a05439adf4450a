import { readFileSync } from 'node:fs';
import type { Dashboard, Panel, RowPanel } from '@grafana/grafana-foundation-sdk/dashboard';
import * as units from '@grafana/grafana-foundation-sdk/units';
import { describe, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { ALERT_GROUPS } from './alerts.ts';
import { allBoards } from './boards/index.ts';
import { CLICKHOUSE, POSTGRES, PROMETHEUS } from './data-source-ids.ts';
import { generatedFiles } from './files.ts';
import type { AlertRuleGroup } from './install/setup.ts';
import { BOARDS, TAG } from './links.ts';
import { MIXED } from './sources.ts';

/** What can be said about the dashboards and alerts without asking anybody. */

const ALL = allBoards();
const panelsOf = (board: Dashboard): Panel[] =>
  (board.panels ?? []).filter((panel: Panel | RowPanel): panel is Panel => panel.type !== 'row');
const variablesOf = (board: Dashboard): string[] => (board.templating?.list ?? []).map(({ name }) => name);
const boardOf = (uid: string | undefined): Dashboard => {
  const found = ALL.find((board) => board.uid === uid);
  if (!found) throw new Error(`there is no dashboard ${uid}`);
  return found;
};

interface Target {
  readonly refId: string;
  readonly datasource: { readonly type: string; readonly uid: string };
}
const targetsOf = (panel: Panel): Target[] => (panel.targets ?? []) as unknown as Target[];
const UNITS: ReadonlySet<unknown> = new Set(Object.values(units));

describe.each(ALL.map((board) => ({ name: board.title, board })))('$name', ({ board }) => {
  test('has panels with ids of their own that do not overlap', () => {
    const ids = (board.panels ?? []).map(({ id }) => id);
    expect(ids.every((id) => Number.isInteger(id))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    const taken = new Map<string, string>();
    for (const panel of board.panels ?? []) {
      const { x = 0, y = 0, w = 0, h = 0 } = panel.gridPos ?? {};
      expect(w > 0 && h > 0 && x >= 0 && x + w <= 24, `${panel.title} is within the grid`).toBe(true);
      for (let i = x; i < x + w; i++) {
        for (let j = y; j < y + h; j++) {
          expect(taken.get(`${i},${j}`), `under ${panel.title}`).toBeUndefined();
          taken.set(`${i},${j}`, panel.title ?? '');
        }
      }
    }
  });

  test('says at its top how fresh it is', () => {
    const first = panelsOf(board)[0];
    expect(first?.title).toBe('Complete to');
    expect(first?.gridPos).toMatchObject({ x: 0, y: 0 });
  });

  test.each(panelsOf(board).map((panel) => ({ title: panel.title, panel })))('$title', ({ panel }) => {
    expect(panel.title?.trim()).toMatch(/^\S.{2,40}$/);
    expect(panel.description ?? '').toMatch(/^.{40,}[.]$/s);
    const overridden = (panel.fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
      properties.filter(({ id }) => id === 'unit').map(({ value }) => value),
    );
    for (const unit of [panel.fieldConfig?.defaults.unit, ...overridden]) {
      expect(UNITS.has(unit), `${unit} is a unit of Grafana`).toBe(true);
    }
    const hasSteps = (panel.fieldConfig?.overrides ?? []).some(({ properties }) =>
      properties.some(({ id }) => id === 'thresholds'),
    );
    expect(panel.type !== 'stat' || !hasSteps || panel.options.colorMode === 'value', 'steps are seen').toBe(
      true,
    );
    const targets = targetsOf(panel);
    expect(targets.length).toBeGreaterThan(0);
    expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
    const asked = new Set(targets.map(({ datasource }) => datasource.uid));
    expect(panel.datasource?.uid).toBe(asked.size > 1 ? MIXED.uid : [...asked][0]);
    for (const { datasource } of targets)
      expect([CLICKHOUSE, POSTGRES, PROMETHEUS]).toContainEqual(datasource);
  });

  test('uses only variables that it has, and each of them', () => {
    const names = new Set(variablesOf(board));
    const text = JSON.stringify({ panels: board.panels, annotations: board.annotations });
    const used = new Set([
      ...[...text.matchAll(/\$\{(\w+):\w+\}/g)].map(([, name]) => name),
      ...[...text.matchAll(/, \$(\w+)\)/g)].map(([, name]) => name),
    ]);
    for (const name of used) expect(names, `variable ${name}`).toContain(name);
    const ours = [...names].filter((name) => !['filters', 'clickhouse_adhoc_query'].includes(name));
    for (const name of ours) expect(used, `variable ${name} is used`).toContain(name);
  });

  test('has links that lead to dashboards, with variables they have, and keep the range', () => {
    const links = panelsOf(board).flatMap((panel) =>
      (panel.fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
        properties
          .filter(({ id }) => id === 'links')
          .flatMap(({ value }) => value as { url: string; title: string }[]),
      ),
    );
    const inPortal = links.filter(({ url }) => url.startsWith('$' + '{portal:raw}/'));
    for (const { url, title } of inPortal) {
      expect(title).toMatch(/^Portal: \S.{3,}/);
      expect(url.slice('$'.length + '{portal:raw}'.length)).toMatch(
        /^\/(?:explorer\/(?:ip|subnet|asn|fingerprint|affiliate|link)\/(?:aff_|lnk_|AS)?\$\{__data\.fields\["[^"]+"\]:percentencode\}|(?:payouts|conversions)\?search=\$\{__data\.fields\["[^"]+"\]:percentencode\}|postback-calls|webhooks)$/,
      );
    }
    for (const { url, title } of links.filter((link) => !inPortal.includes(link))) {
      const [, uid, query = ''] = /^\/d\/([\w-]+)\?(.+)$/.exec(url) ?? [];
      const target = boardOf(uid);
      expect(title).toContain(target.title);
      expect(query.startsWith('$' + '{__url_time_range}&')).toBe(true);
      const given = [...query.matchAll(/var-(\w+)=/g)].map(([, name]) => name ?? '');
      const kept = [...query.matchAll(/\$\{(\w+):queryparam\}/g)].map(([, name]) => name ?? '');
      expect(given).toHaveLength(1);
      for (const name of [...given, ...kept]) expect(variablesOf(target), `${url}: ${name}`).toContain(name);
      for (const name of kept) expect(variablesOf(board), `${url}: ${name}`).toContain(name);
    }
    expect(board.links).toMatchObject([
      { type: 'dashboards', tags: [TAG], keepTime: true, includeVars: true },
    ]);
    expect(board.tags).toContain(TAG);
  });
});

test('there are the five dashboards, by distinct addresses', () => {
  expect(ALL.map(({ uid }) => uid).sort()).toEqual(
    Object.values(BOARDS)
      .map(({ uid }) => uid as string)
      .sort(),
  );
});

describe('alerts', () => {
  const alerts = ALERT_GROUPS.flatMap(({ alerts }) => alerts);
  const runbooks = readFileSync(fromProject('docs/runbooks.md'), 'utf8');

  test('are those that were asked for', () => {
    expect(alerts.map(({ uid }) => uid).sort()).toEqual(
      [
        'velocity-address',
        'velocity-affiliate',
        'conversion-rate',
        'no-clicks',
        'loader-lag',
        'gap',
        'spool-growing',
        'payout-unknown',
        'payout-failed',
        'postbacks-refused',
        'webhook-dead',
        'disk-full',
        'audit-fails',
        // And the one that reports missing audits.
        'audit-stale',
        'process-down',
        'dead-letters',
        'broken-projection',
      ].sort(),
    );
  });

  test.each(alerts)('$uid has a runbook that says what to look at and what to do', ({ uid }) => {
    const runbook = new RegExp(`^## ${uid}\\n((?:(?!^#).*\\n?)+)`, 'm').exec(runbooks)?.[1] ?? '';
    expect(runbook.length).toBeGreaterThan(150);
  });

  test('ask a data source, compare the answer, and lead to their panel', () => {
    const groups = JSON.parse(generatedFiles().get('alerts.json') ?? '') as AlertRuleGroup[];
    const rules = groups.flatMap((group) => group.rules);
    expect(rules).toHaveLength(alerts.length);
    for (const group of groups) expect(group.interval).toMatch(/^\d+m$/);
    for (const rule of rules) {
      expect(rule).toMatchObject({
        uid: expect.stringMatching(/^[a-z0-9-]{1,40}$/),
        condition: 'C',
        data: [{ refId: 'A' }, { refId: 'C', datasourceUid: '__expr__' }],
        for: expect.stringMatching(/^\d+[smh]$/),
        keepFiringFor: '5m',
        missing_series_evals_to_resolve: 3,
        annotations: { runbook_url: expect.stringMatching(/^docs\/runbooks\.md#[a-z-]+$/) },
      });
      expect([CLICKHOUSE.uid, POSTGRES.uid, PROMETHEUS.uid]).toContain(rule.data[0]?.datasourceUid);
      const board = boardOf(rule.dashboardUid);
      expect(panelsOf(board).map(({ id }) => id)).toContain(rule.panelId);
      // A variable has no value where alerts are evaluated.
      expect(JSON.stringify(rule.data)).not.toMatch(/\$\{|conditionalAll|adHocFilters/);
    }
  });
});
