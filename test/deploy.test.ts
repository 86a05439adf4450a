import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { SERVICES } from '../bin/services.ts';
import { UP_STOP_MS } from '../bin/supervisor/stop.ts';
import { renderEnvExample, VARIABLE_NAMES } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { SHUTDOWN_TIMEOUT_MS } from '../core/service/service.ts';
import { reportMissing } from './support/programs.ts';

/** What deploys Afflux says what Afflux is. The images and clusters themselves cannot run in a test. */

const KNOWN = new Set([...VARIABLE_NAMES, ...VARIABLE_NAMES.map((name) => `${name}_FILE`), 'NODE_ENV']);
/** Of a process, unless its variable is set. */
function portOf(name: string): number {
  const variable = SERVICES.find((service) => service.name === name)?.portVariable;
  return Number(new RegExp(`^${variable}=(\\d+)$`, 'm').exec(renderEnvExample())?.[1]);
}
const read = (path: string) => readFileSync(fromProject(path), 'utf8');

interface Container {
  readonly args: readonly string[];
  readonly ports?: readonly { readonly containerPort: number }[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector?: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template?: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly Container[];
      };
    };
    readonly scaleTargetRef?: { readonly kind: string; readonly name: string };
  };
}

describe('compose.yaml', () => {
  const { services, secrets } = parse(read('compose.yaml'), { merge: true }) as {
    services: Record<
      string,
      {
        command?: string[];
        environment: Record<string, string>;
        healthcheck?: { test: string[] };
        secrets?: string[];
        stop_grace_period: string;
      }
    >;
    secrets: Record<string, { file: string }>;
  };

  test('has every process, with its port, and time to stop', () => {
    const processes = Object.entries(services).filter(([name]) => !['afflux', 'migrate'].includes(name));
    const whole = Number.parseInt(services.afflux?.stop_grace_period ?? '', 10) * 1_000;
    expect(whole).toBeGreaterThan(UP_STOP_MS);
    expect(processes.map(([name]) => name).toSorted()).toEqual(SERVICES.map(({ name }) => name).toSorted());
    for (const [name, { command, healthcheck, stop_grace_period }] of processes) {
      expect(command).toEqual([name]);
      expect(healthcheck?.test.join(' ')).toContain(`127.0.0.1:${portOf(name)}/readyz`);
      expect(Number.parseInt(stop_grace_period, 10) * 1_000).toBeGreaterThan(SHUTDOWN_TIMEOUT_MS);
    }
  });

  test('sets variables that exist, and reads secrets that it names', () => {
    for (const [name, service] of Object.entries(services)) {
      const set = Object.keys(service.environment);
      expect([name, set.filter((variable) => !KNOWN.has(variable))]).toEqual([name, []]);
      for (const file of Object.values(service.environment).filter((value) =>
        value.startsWith('/run/secrets/'),
      ))
        expect(service.secrets).toContain(file.slice('/run/secrets/'.length));
      for (const secret of service.secrets ?? []) expect(Object.keys(secrets)).toContain(secret);
    }
    const owners = Object.entries(services).filter(([, { secrets: given }]) =>
      given?.includes('database_owner_url'),
    );
    expect(owners.map(([name]) => name)).toEqual(['migrate']);
  });
});

test('the docs say the times to stop that the code keeps', () => {
  const rows = [...read('docs/deploy.md').matchAll(/^\| (a process|`afflux up`) \| (\d+) s \|/gm)];
  expect(rows.map(([, what, seconds]) => [what, Number(seconds) * 1_000])).toEqual([
    ['a process', SHUTDOWN_TIMEOUT_MS],
    ['`afflux up`', UP_STOP_MS],
  ]);
});

describe('deploy/kubernetes', () => {
  const folder = fromProject('deploy/kubernetes');
  const kustomization = parse(read('deploy/kubernetes/kustomization.yaml')) as {
    resources: string[];
    configMapGenerator: { literals: string[] }[];
  };
  const manifests = kustomization.resources.flatMap((file) =>
    parseAllDocuments(readFileSync(join(folder, file), 'utf8')).map((one) => one.toJS() as Manifest),
  );
  const running = manifests.filter(({ spec }) => spec?.template);

  test('names every file, and variables that exist', () => {
    expect(readdirSync(folder).toSorted()).toEqual(
      ['kustomization.yaml', ...kustomization.resources].toSorted(),
    );
    const set = kustomization.configMapGenerator.flatMap(({ literals }) => literals);
    expect(set.map((literal) => literal.split('=')[0]).filter((name) => !KNOWN.has(name ?? ''))).toEqual([]);
  });

  test('has every process, on its port, with time to stop and labels that its selectors find', () => {
    expect(running.map(({ metadata }) => metadata.name).toSorted()).toEqual(
      ['migrate', ...SERVICES.map(({ name }) => name)].toSorted(),
    );
    for (const { metadata, spec } of running) {
      const [container] = spec.template?.spec.containers ?? [];
      expect(container?.args).toEqual([metadata.name]);
      if (metadata.name !== 'migrate')
        expect(container?.ports?.[0]?.containerPort).toBe(portOf(metadata.name));
      const graceMs = (spec.template?.spec.terminationGracePeriodSeconds ?? 0) * 1_000;
      expect(graceMs).toBeGreaterThan(SHUTDOWN_TIMEOUT_MS);
      expect(spec.template?.metadata.labels).toMatchObject(spec.selector?.matchLabels ?? {});
    }
  });

  test('lets collectors grow, and nothing else', () => {
    const scaled = manifests.flatMap(({ spec }) => spec?.scaleTargetRef ?? []);
    expect(scaled).toEqual([expect.objectContaining({ kind: 'StatefulSet', name: 'collector' })]);
  });
});

describe('deploy/systemd', () => {
  const folder = fromProject('deploy/systemd');
  const units = readdirSync(folder);

  test.each(units)('%s stops its process later than the process itself', (unit) => {
    const text = readFileSync(join(folder, unit), 'utf8');
    const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(text)?.[1]);
    const needsMs = / up$/m.test(text) ? UP_STOP_MS : SHUTDOWN_TIMEOUT_MS;
    expect(seconds * 1_000).toBeGreaterThan(needsMs);
  });

  test('are units for systemd', ({ skip }) => {
    const paths = units.map((unit) => join(folder, unit));
    const { error, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], {
      encoding: 'utf8',
    });
    if (error) {
      reportMissing('systemd-analyze', 'the units of deploy/systemd');
      return skip('without systemd-analyze');
    }
    // Of these alone: /usr/bin/node and /opt/afflux are on the machine that they are for.
    const faults = stderr
      .split('\n')
      .filter((line) => line.includes('afflux') && !/not executable/.test(line));
    expect(faults).toEqual([]);
  });
});
