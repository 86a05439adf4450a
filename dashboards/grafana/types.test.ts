import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { allBoards } from './boards/index.ts';
import { CLICKHOUSE, POSTGRES } from './data-source-ids.ts';

/**
 * The generated JSON against the SDK's types, by the compiler: literals are checked for properties that no type has,
 * for missing ones, and for words that no enumeration knows, also where the builders take anything.
 */

/** Panels whose options and field options the SDK has types for. */
const WITH_FIELD_OPTIONS = new Set(['timeseries', 'table', 'barchart', 'piechart']);
const SDK = '@grafana/grafana-foundation-sdk';
const KINDS = ['timeseries', 'stat', 'table', 'bargauge', 'piechart', 'barchart', 'geomap'] as const;

/** Enumerations become their words, and the marks by which the SDK tells queries apart go. */
const HEAD = `
import type * as dashboard from '${SDK}/dashboard';
import type * as prometheus from '${SDK}/prometheus';
${KINDS.map((kind) => `import type * as ${kind} from '${SDK}/${kind}';`).join('\n')}
import type { ClickHouseQuery, PostgresQuery } from '${fromProject('dashboards/grafana/sources.ts')}';
type Json<T> = 0 extends 1 & T ? T
  : T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends readonly (infer Item)[] ? Json<Item>[]
  : T extends object ? { [K in keyof T as T[K] extends (...args: never[]) => unknown ? never : K]: Json<T[K]> }
  : T;
`;

function queryType(uid: string): string {
  if (uid === CLICKHOUSE.uid) return 'ClickHouseQuery';
  return uid === POSTGRES.uid ? 'PostgresQuery' : 'prometheus.Dataquery';
}

/** One constant for each part, of the type it must have. */
function declarations(): string[] {
  const declare: string[] = [];
  const add = (type: string, value: unknown): unknown =>
    declare.push(`export const c${declare.length}: Json<${type}> = ${JSON.stringify(value ?? {}, null, 1)};`);
  for (const { panels = [], ...board } of allBoards()) {
    add("Omit<dashboard.Dashboard, 'panels'>", board);
    for (const each of panels) {
      if (each.type === 'row') {
        add('dashboard.RowPanel', each);
        continue;
      }
      const { targets = [], options, fieldConfig, ...panel } = each as Panel;
      const { custom, ...defaults } = (fieldConfig?.defaults ?? {}) as { custom?: object };
      add('dashboard.Panel', panel);
      add('dashboard.FieldConfigSource', { ...fieldConfig, defaults });
      add(`${panel.type}.Options`, options);
      if (WITH_FIELD_OPTIONS.has(panel.type)) add(`Partial<${panel.type}.FieldConfig>`, custom);
      for (const target of targets as unknown as { datasource: { uid: string } }[]) {
        add(queryType(target.datasource.uid), target);
      }
    }
  }
  return declare;
}

/** The compiler's errors about a file of such constants. */
function compilerErrors(parts: readonly string[]): string[] {
  mkdirSync(fromProject('node_modules/.cache'), { recursive: true });
  const folder = mkdtempSync(fromProject('node_modules/.cache/dashboards-'));
  try {
    writeFileSync(join(folder, 'check.ts'), [HEAD, ...parts].join('\n'));
    const config = {
      extends: fromProject('tsconfig.json'),
      compilerOptions: {
        noEmit: true,
        rootDir: fromProject('.'),
        exactOptionalPropertyTypes: false,
        rewriteRelativeImportExtensions: false,
      },
      files: ['check.ts'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const { stdout } = spawnSync(
      process.execPath,
      [fromProject('node_modules/typescript/bin/tsc'), '-p', join(folder, 'tsconfig.json')],
      { encoding: 'utf8' },
    );
    return stdout.split('\n').filter((line) => line.includes('error TS'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('what is generated has the types of the SDK', () => {
  const parts = declarations();
  expect(parts.length).toBeGreaterThan(300);
  expect(compilerErrors(parts)).toEqual([]);
});

test('and the compiler would find a word that is no choice, a property that is none, and one that is missing', () => {
  const wrong = compilerErrors([
    `export const a: Json<stat.Options['colorMode']> = 'values';`,
    `export const b: Json<Partial<timeseries.FieldConfig>> = { lineWith: 1 };`,
    `export const c: Json<ClickHouseQuery> = { refId: 'A' };`,
  ]);
  expect(wrong.map((line) => /error (TS\d+)/.exec(line)?.[1])).toEqual(['TS2820', 'TS2561', 'TS2740']);
});
