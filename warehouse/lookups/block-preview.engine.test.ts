import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BlockKind, canonicalValue } from '../../core/blocks/block.ts';
import { BlockSet } from '../../core/blocks/block-set.ts';
import { ClickFlag, type ClickRecord, INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { DAY_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { previewBlocks } from './block-preview.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const NOW = Date.now();
const ip = (text: string): Buffer => parseIp(text) ?? Buffer.alloc(16);
const HOUR = 3_600_000;
const CLICKS: ClickRecord[] = [
  { ts: NOW - HOUR, ip: ip('192.0.2.7'), link_id: 5 },
  { ts: NOW - 2 * DAY_MS, ip: ip('192.0.2.9'), affiliate_id: 11, flags: ClickFlag.bot },
  { ts: NOW - 6 * DAY_MS, ip: ip('192.0.3.1'), affiliate_id: 11, user_agent: "O'Neil_100% \\bot" },
  { ts: NOW - 8 * DAY_MS, ip: ip('192.0.2.7') },
  { ts: NOW - HOUR, ip: ip('2001:db8::7'), referrer: 'https://A.Spam.test:8080/x' },
  { ts: NOW - HOUR, ip: ip('2001:db9::7'), referrer: 'https://xspam.test/', sub3: "zone'9" },
  { ts: NOW - HOUR, ip: ip('192.0.2.7'), flags: ClickFlag.impression },
  { ts: NOW - HOUR, ip: ip('192.0.2.7'), program_id: 2 },
].map((given, seq) => clickRecord({ seq, flags: 0, affiliate_id: 10, ...given }));

beforeAll(async () => {
  warehouse = await freshWarehouse();
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(CLICKS)],
    settings: { async_insert: 0 },
  });
  const order = (id: number, state: string, click: number, linkId: number) => ({
    conversion_id: id,
    version: 1,
    program_id: 1,
    affiliate_id: 10,
    link_id: linkId,
    state,
    currency: 'EUR',
    amount_minor: '10000',
    refunded_minor: '1000',
    commission_minor: '900',
    occurred_at: timeText(NOW),
    click_ts: timeText(click),
  });
  await warehouse.insertRows('conversions', [
    order(1, 'attributed', NOW - HOUR, 5),
    order(2, 'rejected', NOW - HOUR, 5),
    order(3, 'attributed', NOW - 3 * HOUR, 5),
    order(4, 'review', NOW - HOUR, 6),
  ]);
});
afterAll(() => warehouse.drop());

const target = (kind: BlockKind, value: string, sub: number | null = null) => ({
  kind,
  value: canonicalValue(kind, value),
  affiliateId: sub === null ? null : 10,
  sub,
});
const preview = (targets: ReturnType<typeof target>[], programId: number | undefined = 1) =>
  previewBlocks(warehouse, { programId, targets, now: new Date(NOW) });

it('counts the clicks, orders and money that entries would have caught in the last week', async () => {
  const seen = await preview([target('network', '192.0.2.0/24'), target('address', '192.0.3.1')]);
  expect(seen).toEqual({
    from: new Date(NOW - 7 * DAY_MS),
    to: new Date(NOW),
    isPartial: false,
    clicks: 3,
    validClicks: 2,
    allClicks: 5,
    orders: 1,
    money: [{ currency: 'EUR', revenueMinor: 9_000n, commissionMinor: 900n }],
    affiliates: [
      { affiliateId: 11, clicks: 2, validClicks: 1 },
      { affiliateId: 10, clicks: 1, validClicks: 1 },
    ],
    completeTo: undefined,
  });
  const ofAll = await previewBlocks(warehouse, {
    programId: undefined,
    targets: [target('address', '192.0.2.7')],
    now: new Date(NOW),
  });
  expect([ofAll.clicks, ofAll.allClicks]).toEqual([2, 6]);
});

it.each<[BlockKind, string, number | null]>([
  ['address', '192.0.2.7', null],
  ['address', '2001:db8::7', null],
  ['network', '2001:db8::/31', null],
  ['network', '2000::/20', null],
  ['user_agent', 'mozilla', null],
  ['user_agent', "o'neil_100%", null],
  ['user_agent', "o'n*\\bot", null],
  ['user_agent', 'n_il', null],
  ['user_agent', 'mozilla*x', null],
  ['referrer', 'spam.test', null],
  ['sub_id', "zone'9", 3],
  ['sub_id', "zone'9", 2],
  ['country', 'DE', null],
  ['asn', '15169', null],
])('catches what the collector catches: %s %s', async (kind, value, sub) => {
  const entry = target(kind, value, sub);
  const set = new BlockSet();
  set.put({ ...entry, id: 1, programId: 1, action: 'redirect', endsAtMs: null });
  const caught = CLICKS.filter(
    (click) =>
      click.program_id === 1 &&
      (click.flags & ClickFlag.impression) === 0 &&
      click.ts >= NOW - 7 * DAY_MS &&
      set.find(
        {
          ts: click.ts,
          ip: click.ip,
          visitor: { userAgent: click.user_agent },
          traffic: [click.referrer, click.sub1, click.sub2, click.sub3, click.sub4, click.sub5],
          link: { programId: click.program_id, affiliateId: click.affiliate_id },
        },
        // The lists of networks are not loaded here.
        { countryOf: () => '', asnOf: () => 0 },
      ),
  );
  expect((await preview([entry])).clicks).toBe(caught.length);
});

it('counts as valid what core/clicks says', () => {
  expect(INVALID_CLICK_FLAGS).toBe(15_223);
});
