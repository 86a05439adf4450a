import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take minutes begin first, so that the other worker has the rest to do meanwhile. */
const LONGEST = ['test/portal.engine', 'test/chaos', 'test/money-kill', 'ledger/postgres/tasks'];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((name) => moduleId.includes(`/${name}`));
      return at === -1 ? LONGEST.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

/**
 * Tests that can run longer than in `npm test`. `npm run test:long` runs their files alone and one after the other, with
 * the values below: 60 to 90 minutes on two cores that do nothing else. By hand, one of them:
 * `AFFLUX_TEST_KILLS=100 npx vitest run test/collector-kill`; what the environment sets wins. Each file names its default.
 *
 * AFFLUX_TEST_SEED repeats a run of the property tests and of the fuzz test, with the seed that it has printed;
 * AFFLUX_TEST_CHAOS_SEED is the seed of the chaos run's faults. By hand only: AFFLUX_TEST_ROUNDS, rounds of lost
 * PostgreSQL connections, and AFFLUX_TEST_IDLE, idle connections to a collector, which need a larger `ulimit -n`.
 */
const LONG_RUN: Readonly<Record<string, { readonly value: number; readonly files: readonly string[] }>> = {
  AFFLUX_TEST_WORKERS: { value: 8, files: ['test/workers-behind-haproxy'] },
  /** Random histories of orders, refunds, reviews and payouts; other property tests run a fraction of the number. */
  AFFLUX_TEST_HISTORIES: {
    value: 1_000,
    files: [
      'ledger/decisions/histories',
      'ledger/decisions/permutations',
      'ledger/decisions/order-lives',
      'attribution/worker/pace',
      'attribution/worker/batch',
    ],
  },
  /** Histories in which clicks are stored late. */
  AFFLUX_TEST_DELAYS: { value: 30, files: ['attribution/worker/late-clicks'] },
  /** Random requests to each operation of the API. */
  AFFLUX_TEST_FUZZ: { value: 2_000, files: ['api/http/fuzz'] },
  /** Random requests to the collector. */
  AFFLUX_TEST_REQUESTS: { value: 200_000, files: ['collector/hostile'] },
  /** Every n-th byte at which a request is cut. */
  AFFLUX_TEST_CUT_STEP: { value: 1, files: ['test/http-parser'] },
  /** Kills −9 of a collector under load. */
  AFFLUX_TEST_KILLS: { value: 30, files: ['test/collector-kill'] },
  /** Minutes of faults in a whole platform under load. */
  AFFLUX_TEST_CHAOS_MINUTES: { value: 10, files: ['test/chaos'] },
  /** Minutes of a steady load; 0: none. */
  AFFLUX_TEST_SOAK_MINUTES: { value: 8, files: ['test/load'] },
  /** Whether clients and generators of clients are installed, from npm, PyPI, Maven and the Go proxy, and tried: 1 or 0. */
  AFFLUX_TEST_CLIENTS: {
    value: 1,
    files: ['test/generated-clients', 'engines/clickhouse-clients', 'warehouse/reports/report-files'],
  },
  /** Whether everything is installed again in a copy of the tree: 1 or 0. */
  AFFLUX_TEST_FRESH_CLONE: { value: 1, files: ['test/fresh-clone'] },
  /** Whether a PostgreSQL with a standby fails over under the whole platform: 1 or 0. */
  AFFLUX_TEST_FAILOVER: { value: 1, files: ['test/postgres-failover'] },
  /** Whether a release is built and run: 1 or 0. */
  AFFLUX_TEST_RELEASE: { value: 1, files: ['test/release'] },
  /** Whether whole platforms are saved, killed meanwhile, and restored elsewhere, and a copy of an earlier version: 1 or 0. */
  AFFLUX_TEST_BACKUP: { value: 1, files: ['test/backup', 'ledger/transfer'] },
  /** Whether the pages are walked through in full, with pictures, and not the main ways only: 1 or 0. */
  AFFLUX_TEST_PAGES: {
    value: 1,
    files: [
      'test/portal',
      'test/portal-account',
      'test/portal-acts',
      'test/portal-analysts',
      'test/portal-blocks',
      'test/portal-cases',
      'test/portal-explorer',
      'test/portal-fraud-rules',
      'test/portal-lists',
      'test/portal-open-page',
      'test/portal-orders',
      'test/portal-postbacks',
      'test/portal-saved-reports',
      'test/portal-sign-up',
      'test/portal-sources',
      'test/portal-texts',
    ],
  },
  /** Whether three nats-servers are killed and restarted often, and cut off from each other: 1 or 0. */
  AFFLUX_TEST_NATS_CLUSTER: { value: 1, files: ['test/nats-cluster'] },
  /** Whether the peers of the benchmark are started and killed beside the collector: 1 or 0. */
  AFFLUX_TEST_PEERS: { value: 1, files: ['loadtest/peers/peers'] },
  /** Whether two machines are made as network namespaces: 1 or 0. */
  AFFLUX_TEST_MACHINES: { value: 1, files: ['test/machines'] },
  /** Whether runbooks are followed against their faults: 1 or 0. */
  AFFLUX_TEST_RUNBOOKS: { value: 1, files: ['test/runbooks'] },
  /** Milliseconds of a page of the portal with 1,000 links and 10,000 orders; 0: not measured. */
  AFFLUX_TEST_PAGE_MS: { value: 200, files: ['test/portal-speed'] },
  /** Whether a collector is measured with a million links: 1 or 0. */
  AFFLUX_TEST_MILLION_LINKS: { value: 1, files: ['collector/links/million-links'] },
};

function longRun() {
  const sizes = Object.entries(LONG_RUN);
  return {
    include: sizes.flatMap(([, { files }]) => files.map((file) => `${file}.engine.test.ts`)),
    env: Object.fromEntries(sizes.map(([name, { value }]) => [name, process.env[name] ?? String(value)])),
    maxWorkers: 1,
  };
}

export default defineConfig(({ mode }) => ({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules/**', 'dist/**', '.afflux/**'],
    globalSetup: ['test/support/global-setup.ts'],
    sequence: { sequencer: LongestFirst },
    tags: [{ name: 'attack', description: 'Tries to break a boundary of docs/security.md.' }],
    // One more than the cores: many tests wait for processes that they have stopped.
    maxWorkers: 3,
    // Only what hangs is ended by these: each wait has a deadline of its own. Starting a platform takes up to 60 s.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Of an `expect.poll` that names none; a second is too short for a slow machine.
    expect: { poll: { timeout: 15_000 } },
    ...(mode === 'long' && longRun()),
    // `npm run test:cluster` alone: it needs the servers that this starts.
    ...(mode === 'cluster' && { include: ['test/cluster/cluster.run.ts'], maxWorkers: 1 }),
  },
}));
