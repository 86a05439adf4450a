import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MINUTE_MS } from '../../core/time.ts';
import { createParties, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { inTransaction } from '../postgres/db.ts';
import { createBlocks, entriesInForce, MAX_PATTERNS, type NewBlock, readBlockRoom } from './blocks.ts';

let db: TestLedger;
let programId: number;
let affiliateId: number;

beforeAll(async () => {
  db = await freshLedger({ max: 4 });
  const parties = await createParties(db.ledger);
  programId = parties.programId;
  [affiliateId] = parties.chain;
});
afterAll(async () => await db?.close());

const patterns = (prefix: string, count: number): NewBlock[] =>
  Array.from({ length: count }, (_, n) => ({
    kind: 'user_agent',
    value: `${prefix}-${n}`,
    action: 'redirect',
    reason: 'a test',
  }));
const make = (entries: NewBlock[], of: number | null = programId) =>
  inTransaction(db.ledger, (tx) => createBlocks(tx, { programId: of, actor: 'test', entries }));

describe('how many entries are in force at once', () => {
  it('is a limit also for requests at the same time', async () => {
    const { programId: other } = await createParties(db.ledger);
    const most = (MAX_PATTERNS * 3) / 4;
    const made = await Promise.allSettled([
      make(patterns('one', most), other),
      make(patterns('two', most), other),
    ]);
    expect(made.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const refused = made.find(({ status }) => status === 'rejected');
    expect(refused).toMatchObject({
      reason: { code: 'wrong_state', message: /at most 200 entries of user agents/ },
    });
    expect((await readBlockRoom(db.ledger, other)).patterns).toBe(MAX_PATTERNS - most);
  });

  it('is counted of a program, and of all together', async () => {
    const before = [await readBlockRoom(db.ledger, programId), await readBlockRoom(db.ledger, null)] as const;
    await make(patterns('all', 2), null);
    await make([{ kind: 'asn', value: 'AS1', action: 'redirect', reason: 'a test' }]);
    const after = [await readBlockRoom(db.ledger, programId), await readBlockRoom(db.ledger, null)] as const;
    expect(after.map(({ all }, i) => (before[i]?.all ?? 0) - all)).toEqual([3, 3]);
    expect(after.map(({ own }, i) => (before[i]?.own ?? 0) - own)).toEqual([1, 2]);
    expect(after.map((room, i) => (before[i]?.patterns ?? 0) - room.patterns)).toEqual([0, 2]);
  });
});

describe('the entries that may have blocked a click', () => {
  const AT = new Date('2026-05-01T12:00:00Z');
  const later = (ms: number) => new Date(AT.getTime() + ms);
  const ids = new Map<number, string>();

  async function stored(
    name: string,
    kind: string,
    value: string,
    createdAt: Date,
    endsAt: Date | null = null,
  ) {
    const [row] = await db.ledger<[{ id: number }]>`
      insert into blocks (program_id, kind, value, action, reason, created_by, created_at, ends_at)
      values (${lists}, ${kind}, ${value}, 'redirect', 'a test', 'test', ${createdAt}, ${endsAt}) returning id`;
    ids.set(row.id, name);
  }
  let lists: number;
  beforeAll(async () => {
    ({ programId: lists } = await createParties(db.ledger));
    const before = later(-MINUTE_MS);
    await stored('address', 'address', '192.0.2.77', before);
    await stored('zero', 'address', '192.0.2.0', before);
    await stored('small', 'network', '192.0.2.64/26', before);
    await stored('whole', 'network', '192.0.2.0/23', before);
    await stored('ipv6', 'network', '2001:db8:1::/64', before);
    await stored('country', 'country', 'DE', before);
    await stored('just made', 'network', '198.51.100.0/24', later(5_000));
    await stored('made later', 'network', '198.51.100.0/25', later(20_000));
    await stored('just ended', 'network', '198.51.0.0/16', before, later(-5_000));
    await stored('ended', 'network', '198.0.0.0/8', before, later(-20_000));
  });

  const named = async (ip: string | null, limit = 20) => {
    const click = { programId: lists, at: AT, affiliateId, ip, limit };
    const { certain, possible, others } = await entriesInForce(db.ledger, click);
    const names = (entries: readonly { id: number }[]) => entries.map(({ id }) => ids.get(id)).toSorted();
    return [names(certain), names(possible), others];
  };

  it.each<[string | null, string[], string[]]>([
    // Whole: what does not hold it has not blocked it, though it lies in the same network.
    ['192.0.2.77', ['address', 'small', 'whole'], ['country']],
    ['192.0.2.9', ['whole'], ['country']],
    // Perhaps cut: of the entries in its network each may have held what it was.
    ['192.0.2.0', ['whole'], ['address', 'country', 'small', 'zero']],
    ['2001:db8:1::', [], ['country', 'ipv6']],
    ['2001:db8:1::5', ['ipv6'], ['country']],
    // By clocks that differ, and before every collector has it.
    ['198.51.100.7', [], ['country', 'just ended', 'just made']],
    ...[null, '::'].map((unknown): [string | null, string[], string[]] => [
      unknown,
      [],
      ['address', 'country', 'ipv6', 'just ended', 'just made', 'small', 'whole', 'zero'],
    ]),
  ])('of %s are certain only where its address says so', async (ip, certain, possible) => {
    expect(await named(ip)).toEqual([certain, possible, 0]);
  });

  it('are the newest ones, with the number of the others', async () => {
    expect(await named(null, 3)).toEqual([[], ['country', 'just ended', 'just made'], 5]);
  });
});
