// The one direction of imports: each folder may import only those listed here (see docs/architecture.md).
const mayImport = {
  core: [],
  engines: ['core'],
  collector: ['core'],
  warehouse: ['core'],
  ledger: ['core'],
  attribution: ['core', 'warehouse', 'ledger'],
  api: ['core', 'warehouse', 'ledger', 'attribution'],
  dashboards: ['core'],
  loadtest: ['core', 'engines', 'ledger', 'warehouse', 'attribution'],
};

// Engine tests run against the real engines, so test files may also import engines/.
const testFile = '\\.test\\.ts$';

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...Object.entries(mayImport).map(([folder, allowed]) => ({
      name: `${folder}-imports`,
      severity: 'error',
      from: { path: `^${folder}/`, pathNot: testFile },
      to: {
        path: '^(core|engines|collector|warehouse|ledger|attribution|api|dashboards|loadtest|bin|test)/',
        pathNot: `^(${[folder, ...allowed].join('|')})/`,
      },
    })),
    {
      name: 'nothing-imports-bin-or-test',
      severity: 'error',
      from: { pathNot: '^(bin|test)/' },
      to: { path: '^(bin|test)/', pathNot: '^test/support/' },
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
