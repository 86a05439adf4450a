// The one direction of imports (see docs/architecture.md). A folder, and a room within it, may import itself and what is
// listed here, nothing else. `.` is what lies in the folder directly: the process's main, its metrics, shared files.
const { readdirSync } = require('node:fs');
const { include: sourceFolders } = require('./tsconfig.build.json');

const folders = {
  core: [],
  engines: ['core'],
  collector: ['core'],
  warehouse: ['core'],
  ledger: ['core'],
  attribution: ['core', 'warehouse', 'ledger'],
  scheduler: ['core', 'warehouse', 'ledger'],
  api: ['core', 'warehouse', 'ledger', 'attribution'],
  'dashboards/grafana': ['core', 'warehouse'],
  loadtest: ['core', 'engines', 'ledger', 'warehouse', 'attribution'],
  bin: [
    'core',
    'engines',
    'collector',
    'warehouse',
    'ledger',
    'attribution',
    'scheduler',
    'api',
    'dashboards/grafana',
  ],
};

const rooms = {
  core: {
    '.': [],
    blocks: ['.'],
    clicks: ['.'],
    links: ['.'],
    money: ['.'],
    postgres: ['.'],
    text: [],
    keys: ['.', 'postgres'],
    config: ['.', 'clicks'],
    service: ['.'],
    net: ['.'],
    telemetry: ['.', 'config', 'service'],
    uws: ['.', 'config', 'service'],
    files: [],
  },
  collector: {
    '.': ['request', 'links', 'routing', 'durability', 'clicks'],
    request: [],
    links: ['request'],
    routing: ['request', 'links'],
    durability: [],
    clicks: ['request', 'links', 'routing', 'durability'],
  },
  warehouse: {
    clickhouse: [],
    cluster: ['clickhouse'],
    watermark: ['clickhouse'],
    leadership: [],
    geo: ['clickhouse'],
    mirror: ['clickhouse'],
    loader: ['clickhouse', 'cluster', 'watermark', 'leadership'],
    reports: ['clickhouse', 'watermark'],
    lookups: ['clickhouse', 'watermark', 'reports'],
    audit: ['clickhouse', 'watermark', 'loader'],
    analysts: ['clickhouse'],
    transfer: ['clickhouse', 'cluster', 'geo', 'leadership', 'loader'],
  },
  ledger: {
    postgres: [],
    access: ['postgres'],
    programs: ['postgres'],
    blocks: ['postgres'],
    books: ['postgres', 'programs'],
    integrations: ['postgres', 'access'],
    conversions: ['postgres', 'access', 'programs'],
    payouts: ['postgres', 'access', 'programs', 'books', 'integrations'],
    decisions: ['postgres', 'access', 'programs', 'books', 'conversions', 'payouts'],
    cases: ['postgres', 'books', 'conversions', 'decisions'],
    partners: ['postgres', 'programs', 'conversions'],
    audit: ['postgres', 'access', 'books', 'cases', 'conversions', 'payouts'],
    setup: ['postgres', 'access', 'programs', 'payouts'],
    transfer: ['postgres', 'access'],
  },
  attribution: {
    '.': ['worker'],
    decide: [],
    worker: ['decide'],
    tools: ['decide', 'worker'],
  },
  api: {
    '.': [
      'http',
      'schemas',
      'auth',
      'mapping',
      'orders',
      'sources',
      'conversions',
      'programs',
      'partners',
      'money',
      'reports',
      'fraud',
      'webhooks',
      'mails',
      'operations',
      'setup',
      'openapi',
    ],
    schemas: [],
    client: [],
    http: ['schemas'],
    auth: ['http', 'schemas', 'mails'],
    openapi: ['http', 'auth'],
    mapping: [],
    orders: ['http', 'schemas', 'mapping', 'mails'],
    sources: ['http', 'schemas', 'auth', 'mapping', 'orders'],
    conversions: ['http', 'schemas', 'auth', 'orders'],
    programs: ['http', 'schemas', 'auth', 'orders', 'mails'],
    partners: ['http', 'schemas', 'auth', 'orders', 'programs', 'mails'],
    money: ['http', 'schemas', 'auth', 'programs'],
    reports: ['http', 'schemas', 'auth', 'orders'],
    fraud: ['http', 'schemas', 'auth', 'orders', 'programs'],
    mails: [],
    webhooks: ['http', 'schemas', 'auth', 'orders', 'programs', 'money'],
    setup: ['http', 'schemas', 'auth'],
    operations: ['http', 'schemas', 'auth', 'orders', 'programs', 'reports', 'setup'],
  },
  bin: {
    '.': ['commands', 'supervisor', 'demo', 'grafana', 'backup'],
    commands: ['.'],
    backup: ['.', 'commands', 'supervisor'],
    grafana: ['.'],
    supervisor: ['.', 'commands', 'demo'],
    demo: ['.', 'commands'],
  },
};

// Tests run against the real engines, so they may also import engines/ and the other parts that they set up.
const testFile = '\\.test\\.ts$';
const everyFolder = `^(${[...sourceFolders, 'test'].join('|')})/`;

const folderRules = Object.entries(folders).map(([folder, allowed]) => ({
  name: `${folder}-imports`,
  severity: 'error',
  from: { path: `^${folder}/`, pathNot: testFile },
  to: { path: everyFolder, pathNot: `^(${[folder, ...allowed].join('|')})/` },
}));

/** Paths of the files of a room, as a regular expression. */
function filesOf(folder, names) {
  const inside = names.map((name) => (name === '.' ? '[^/]+$' : `${name}/`));
  return `^${folder}/(${inside.join('|')})`;
}

const roomRules = Object.entries(rooms).flatMap(([folder, allowedByRoom]) =>
  Object.entries(allowedByRoom).map(([room, allowed]) => ({
    name: `${folder}/${room === '.' ? '' : `${room}-`}imports`,
    severity: 'error',
    from: { path: filesOf(folder, [room]), pathNot: testFile },
    to: { path: `^${folder}/`, pathNot: filesOf(folder, [room, ...allowed]) },
  })),
);

/** Folders without code. */
const withoutCode = ['migrations', '__snapshots__'];
for (const [folder, allowedByRoom] of Object.entries(rooms)) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory() || withoutCode.includes(entry.name) || entry.name in allowedByRoom) continue;
    throw new Error(`${folder}/${entry.name} has no rule: add it to "rooms" in .dependency-cruiser.cjs`);
  }
}
for (const folder of sourceFolders) {
  if (!(folder in folders))
    throw new Error(`${folder} has no rule: add it to "folders" in .dependency-cruiser.cjs`);
}

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'traffic-knows-no-generator',
      comment: 'k6 and npm run load send what it makes: neither Node.js nor k6 is there for both.',
      severity: 'error',
      from: { path: '^loadtest/traffic/', pathNot: testFile },
      to: { pathNot: '^loadtest/traffic/' },
    },
    {
      name: 'k6-scripts-run-in-k6',
      severity: 'error',
      from: { path: '^loadtest/k6/', pathNot: 'build\\.mjs$' },
      to: { pathNot: '^(loadtest/(k6|traffic)/|node_modules/@types/k6/)' },
    },
    ...folderRules,
    ...roomRules,
    {
      name: 'nothing-imports-test',
      severity: 'error',
      from: { pathNot: `^test/|${testFile}` },
      to: { path: '^test/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // The parser below reads no JSX; what the portal may import is a rule of biome.json.
    exclude: { path: '^(dist|\\.afflux|scripts|dashboards/portal)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    // The TypeScript 7 compiler has no JavaScript API to parse with.
    parser: 'swc',
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
