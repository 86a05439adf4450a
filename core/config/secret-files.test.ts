import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from './config.ts';
import { withSecretFiles } from './secret-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'afflux-secret-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test('a variable is read from the file that its _FILE names', () => {
  const env = withSecretFiles({
    DATABASE_URL_FILE: file('database', 'postgres://afflux_app:secret@db:5432/afflux\n'),
    CLICK_KEYS_FILE: file('keys', ` ${'ab'.repeat(16)} \n`),
    API_PORT: '9000',
  });
  expect(loadConfig(env)).toMatchObject({
    databaseUrl: 'postgres://afflux_app:secret@db:5432/afflux',
    clickKeys: ['ab'.repeat(16)],
    apiPort: 9_000,
  });
});

test('every file that cannot be read, and every variable that is set twice, is named at once', () => {
  const env = {
    DATA_KEYS: 'x',
    DATA_KEYS_FILE: file('data', 'y'),
    NATS_URL_FILE: join(folder, 'missing'),
    MAIL_URL_FILE: '',
  };
  expect(() => withSecretFiles(env)).toThrow(
    /DATA_KEYS and DATA_KEYS_FILE are both set(.|\n)*NATS_URL_FILE: .*ENOENT|NATS_URL_FILE: .*ENOENT(.|\n)*DATA_KEYS and/,
  );
  expect(() => withSecretFiles(env)).not.toThrow('MAIL_URL');
});
