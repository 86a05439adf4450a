import { defineConfig } from 'vite';

type ModuleInfo = (id: string) => { isEntry: boolean; importers: readonly string[] } | null;

/** Whether imports, not counting those of pages that are loaded when they are opened, lead from the entry to the module. */
function isLoadedAtOnce(id: string, infoOf: ModuleInfo): boolean {
  const importers = new Set([id]);
  for (const one of importers) {
    const info = infoOf(one);
    if (info?.isEntry) return true;
    for (const importer of info?.importers ?? []) importers.add(importer);
  }
  return false;
}

/** Built into dist/portal and served by the API below /portal/; nothing is loaded from elsewhere. */
export default defineConfig({
  root: import.meta.dirname,
  base: '/portal/',
  build: {
    outDir: '../../dist/portal',
    emptyOutDir: true,
    target: 'es2022',
    // The page's policy allows no data: scripts, and one file each is what a cache wants.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // What a page loads at once is one file: in pieces it is larger by a tenth.
    rollupOptions: {
      output: {
        manualChunks: (id, { getModuleInfo }) => (isLoadedAtOnce(id, getModuleInfo) ? 'portal' : undefined),
      },
    },
  },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
});
