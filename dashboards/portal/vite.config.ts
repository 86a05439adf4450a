import { defineConfig } from 'vite';

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
  },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
});
