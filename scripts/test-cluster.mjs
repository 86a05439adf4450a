// `npm run test:cluster`: starts the ClickHouse cluster of deploy/clickhouse-cluster with Docker, runs test/cluster against
// it, and removes it again.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const compose = ['compose', '--file', join(root, 'deploy/clickhouse-cluster/compose.yaml')];

function run(command, args, stdio = 'inherit') {
  return spawnSync(command, args, { cwd: root, stdio }).status ?? 1;
}

if (run('docker', ['compose', 'version'], 'ignore') !== 0) {
  process.stderr.write(
    'npm run test:cluster needs Docker with its compose plugin, which "docker compose version" did not find: nothing was tested.\n',
  );
  process.exit(1);
}

try {
  process.exitCode =
    run('docker', [...compose, 'up', '--detach', '--wait']) ||
    run('node', ['node_modules/vitest/vitest.mjs', 'run', '--mode', 'cluster']);
  if (process.exitCode !== 0) run('docker', [...compose, 'logs', '--tail', '50']);
} finally {
  run('docker', [...compose, 'down', '--volumes']);
}
