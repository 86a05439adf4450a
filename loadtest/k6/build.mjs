// `npm run k6:build`: each script of loadtest/k6 as one file that k6 runs, in dist/k6.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SCRIPTS = ['redirects', 'mixed', 'ramp', 'soak'];

for (const name of SCRIPTS) {
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: {
      outDir: 'dist/k6',
      emptyOutDir: false,
      // What k6's engine, Sobek, runs by itself.
      target: 'es2018',
      minify: false,
      lib: { entry: join(root, 'loadtest/k6', `${name}.ts`), formats: ['es'], fileName: () => `${name}.js` },
      rollupOptions: { external: /^k6(\/|$)/ },
    },
  });
}
process.stdout.write(`dist/k6: ${SCRIPTS.map((name) => `${name}.js`).join(', ')}\n`);
