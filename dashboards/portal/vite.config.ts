import { defineConfig } from 'vite';

/** Components, data and libraries of every page, but those of single pages. */
const SHARED =
  /node_modules\/(?:preact|uplot|openapi-fetch)|\/src\/data\/|\/src\/text\/(?!messages)|\/src\/ui\/(?:basics|charts|forms|freshness|list-tools|stat|status|table)\./;

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
    rollupOptions: {
      output: {
        // What most pages share is one file, so that a page that is opened later is one file more.
        manualChunks: (id) => (SHARED.test(id) ? 'shared' : undefined),
      },
    },
  },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
});
