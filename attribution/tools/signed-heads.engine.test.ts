import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { extendHashChains } from '../../ledger/audit/hash-chains.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { checkSignedHeads } from './signed-heads.ts';

const { privateKey: countKey } = generateKeyPairSync('ed25519');
let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
beforeEach(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 2 }), freshWarehouse()]);
  await write();
});
afterEach(async () => {
  await books?.close();
  await warehouse?.drop();
});

async function write(): Promise<void> {
  await appendAuditLog(books.ledger, { actor: 'test', action: 'write', subject: 'prg_1' });
  await extendHashChains(books.ledger);
}

const check = () => checkSignedHeads({ ledger: books.ledger, warehouse, countKey });

test('the heads of an audit are signed once, and found again by the later ones', async () => {
  expect(await check()).toMatchObject({
    ok: true,
    detail: expect.stringMatching(/^0 signed heads .* 1 signed now/),
  });
  expect(await check()).toMatchObject({
    ok: true,
    detail: expect.stringMatching(/^1 signed heads .* 0 signed now/),
  });
  await write();
  expect(await check()).toMatchObject({
    ok: true,
    detail: expect.stringMatching(/^1 signed heads .* 1 signed now/),
  });
});

test('the owner of PostgreSQL changes a row and writes its chain again: the signed head stays behind', {
  tags: ['attack'],
}, async () => {
  await write();
  await check();
  await books.owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`update audit_log set actor = 'user:9' where id = 1`;
    await tx`delete from hash_chain`;
  });
  await extendHashChains(books.ledger);
  const result = await check();
  expect(result).toMatchObject({
    name: 'signed_heads',
    ok: false,
    detail: expect.stringMatching(
      /^audit_log up to 2 [0-9a-f]{64} was signed, and the rows up to there do not lead/,
    ),
  });
  // It is not forgotten by signing what is there now.
  expect(await check()).toEqual(result);
});

test('a head in ClickHouse is replaced by the present one, without the key: its signature is not valid', {
  tags: ['attack'],
}, async () => {
  await check();
  await warehouse.command(
    'ALTER TABLE signed_heads UPDATE head = upper(head) WHERE 1 SETTINGS mutations_sync = 1',
  );
  expect(await check()).toMatchObject({
    ok: false,
    detail: expect.stringContaining('the signature is not valid'),
  });
});
