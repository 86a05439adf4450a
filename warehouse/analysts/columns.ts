/**
 * What an analyst's tables, views and columns mean: docs/data.md is made of these texts and of the types that ClickHouse
 * gives. A test demands a text for every column, and none for another.
 */

interface Relation {
  /** What one row is. */
  readonly row: string;
  /** How long rows stay. */
  readonly kept: string;
  /** What a reader has to know beside the columns. */
  readonly notes?: string;
}

const AS_LEDGER = 'as in the ledger';
const ROLLUP_NOTES =
  'Sum `clicks` and merge the states: rows of one key may lie in several parts that are not merged yet.';
const PER_ROW =
  '`visitors` and `addresses` are distinct within the row: those of several rows have no sum, because one visitor may be in each.';

export const RELATIONS: Readonly<Record<string, Relation>> = {
  analyst_clicks: {
    row: 'a click or impression',
    kept: '5 years; address, user agent, referrer and query 90 days',
    notes: 'Filter by `campaign_id` and `clicked_at`: rows are sorted by them.',
  },
  analyst_orders: { row: 'a conversion, as the ledger has it now', kept: AS_LEDGER },
  analyst_campaigns_hourly: { row: 'campaign × hour', kept: '5 years', notes: PER_ROW },
  analyst_campaigns_daily: { row: 'campaign × UTC day', kept: '5 years', notes: PER_ROW },
  analyst_names: { row: 'a program, campaign, affiliate or link', kept: AS_LEDGER },
  clicks: {
    row: 'a click or impression as the collector recorded it',
    kept: '5 years; ip, user_agent, referrer and query 90 days',
    notes:
      'Sorted by `campaign_id` and `ts`. `SELECT *` leaves out `referrer_domain`, `country`, `asn` and `visitor`: name them.',
  },
  clicks_hourly: {
    row: 'campaign × hour × affiliate × link × country × device × flag group',
    kept: '5 years',
    notes: ROLLUP_NOTES,
  },
  clicks_minutely: { row: 'the same by minute', kept: '8 days', notes: ROLLUP_NOTES },
  campaigns_hourly: { row: 'campaign × hour', kept: '5 years', notes: ROLLUP_NOTES },
  campaigns_daily: { row: 'campaign × UTC day', kept: '5 years', notes: ROLLUP_NOTES },
  velocity_ip: { row: 'a click of the last day, sorted by network and address', kept: '26 hours' },
  velocity_fingerprint: { row: 'a click of the last day, sorted by fingerprint', kept: '26 hours' },
  conversions: {
    row: 'a version of a conversion',
    kept: AS_LEDGER,
    notes: 'Read with `FINAL`: the highest version counts. Money is in minor units of `currency`.',
  },
  names: { row: 'a version of a name', kept: AS_LEDGER, notes: 'Read with `FINAL`.' },
  watermarks: {
    row: 'a version of how far a shard of the stream is loaded',
    kept: '–',
    notes: 'Everything before the least `complete_to` of the newest versions is counted.',
  },
  visitors_known: { row: 'the time from which rollups know visitors', kept: '–' },
};

export interface ColumnText {
  readonly meaning: string;
  /** '' where the meaning says it, or there is none. */
  readonly unit: string;
  readonly example: string;
}

const column = (meaning: string, example: string, unit = ''): ColumnText => ({ meaning, unit, example });
const TIME = 'UTC';
const SETTLED_EXAMPLE =
  '`bitAnd(max(…), 4294967295)` where `bitShiftRight(max(…), 32)` is `sum(valid_clicks)`';
const STATE_EXAMPLE = '`uniqCombinedMerge(14)(…)`';
const MINOR = 'minor units of `currency`';
const MAJOR = '`currency`';
const subId = (n: number): ColumnText => column(`sub id ${n} of the link’s URL`, n === 1 ? 'newsletter' : '');

/** Of every relation that has a column of the name, unless {@link OWN_TEXTS} has a text of its own. */
export const COLUMN_TEXTS: Readonly<Record<string, ColumnText>> = {
  // What it belongs to.
  program_id: column('program', '1'),
  campaign_id: column('campaign', '12'),
  affiliate_id: column('affiliate', '345'),
  link_id: column('link', '6789'),
  program: column('name of the program', 'Demo shop'),
  campaign: column('name of the campaign', 'Summer sale'),
  affiliate: column('name of the affiliate', 'Ann Advises'),
  link_code: column('code of the link, in `/c/CODE`', 'ann-summer'),
  kind: column('program, campaign, affiliate or link', 'campaign'),
  id: column('number of what has the name; of its kind', '12'),
  name: column('name; of a link its code', 'Summer sale'),
  // Times.
  ts: column('time at the collector', '2026-11-22 12:00:00.123', TIME),
  clicked_at: column('time of the click', '2026-11-22 12:00:00.123', TIME),
  minute: column('start of the minute', '2026-11-22 12:00:00', TIME),
  hour: column('start of the hour', '2026-11-22 12:00:00', TIME),
  day: column('start of the day', '2026-11-22 00:00:00', TIME),
  occurred_at: column('time of the order', '2026-11-22 12:10:00.000', TIME),
  received_at: column('time at which the platform learned of it', '2026-11-22 12:10:01.250', TIME),
  click_ts: column('time of the click that won it; null: none', '2026-11-22 12:00:00.123', TIME),
  since: column('start', '2026-11-01 00:00:00', TIME),
  complete_to: column('every earlier click of the shard is stored', '2026-11-22 12:00:00.000', TIME),
  updated_at: column('when it was written', '2026-11-22 12:00:01.000', TIME),
  // Counts.
  clicks: column('clicks and impressions of the row', '120'),
  valid_clicks: column('those that count: flag groups ok and repeat', '97'),
  impressions: column('impressions among `clicks`', '10'),
  ips: column('state of the distinct addresses of valid clicks', STATE_EXAMPLE),
  distinct_visitors: column('state of the distinct visitors of valid clicks', STATE_EXAMPLE),
  settled_ips: column('what reports read in the place of `ips`', SETTLED_EXAMPLE),
  settled_visitors: column('what reports read in the place of `distinct_visitors`', SETTLED_EXAMPLE),
  visitors: column('distinct visitors of valid clicks; about 1 % of error', '81'),
  addresses: column('distinct addresses of valid clicks; about 1 % of error', '80'),
  // The visitor.
  ip: column('address, IPv4 mapped; `::` removed or not known. Personal', '::ffff:203.0.113.7'),
  subnet: column('network of the address: /24 of IPv4, /64 of IPv6. Personal', '::ffff:203.0.113.0'),
  fingerprint: column(
    'hash of User-Agent and Accept-Language; 0: opted out. Personal',
    '1234567890123456789',
  ),
  visitor: column('hash of fingerprint and network: the same for one visitor', '2864434397'),
  user_agent: column('the header; empty after 90 days. Personal', 'Mozilla/5.0 …'),
  agent: column('hash of the user agent', '3735928559'),
  country: column('of the address; empty: not known', 'DE', 'ISO 3166-1 alpha-2'),
  asn: column('autonomous system of the address; 0: not known', '680'),
  network_owner: column('owner of the autonomous system; empty: not known', 'DFN'),
  device: column('unknown, desktop, mobile, tablet, tv, bot', 'mobile'),
  os: column('operating system', 'Android'),
  browser: column('browser', 'Chrome'),
  language: column('first of Accept-Language', 'en-GB'),
  opted_out: column('1: DNT or Sec-GPC was honoured', '0'),
  // Where it came from and where it went.
  referrer: column('the header; empty after 90 days. Personal', 'https://blog.example/post'),
  referrer_domain: column('host of the referrer without www', 'blog.example'),
  sub1: subId(1),
  sub2: subId(2),
  sub3: subId(3),
  sub4: subId(4),
  sub5: subId(5),
  utm_source: column('parameter of the link’s URL', 'news'),
  utm_medium: column('parameter of the link’s URL', 'email'),
  utm_campaign: column('parameter of the link’s URL', 'summer'),
  utm_term: column('parameter of the link’s URL', ''),
  utm_content: column('parameter of the link’s URL', ''),
  query: column('other parameters, encoded; empty after 90 days. Personal', 'ref=a%20b'),
  rule: column('routing rule that chose the destination, from 1; 0: none', '0'),
  destination: column('which of several weighted destinations, from 0', '0'),
  // How it counts.
  flags: column('bits: `ClickFlag` in core/clicks/click-record.ts', '8'),
  flag_group: column(
    'the one reason by which it counts: ok, repeat (valid); bot, prefetch, head, inactive, impression, forced, flood, blocked (not)',
    'ok',
  ),
  counted_as: column(
    'the one reason by which it counts: ok, repeat (valid); bot, prefetch, head, inactive, impression, forced, flood, blocked (not)',
    'ok',
  ),
  is_valid: column('1: it counts, ok or repeat', '1'),
  node: column('node lease of the collector', '3'),
  seq: column('number within the lease; node, seq and time identify a click', '41'),
  // Orders and money.
  conversion_id: column('conversion', '1001'),
  version: column('the highest is the newest', '7'),
  event_name: column('event of the program', 'sale'),
  state: column(
    'received (not tried yet: 15 s at the most, unless ClickHouse or the worker was unavailable or is behind), awaiting_click, attributed, review, rejected, unattributed, partially_refunded, refunded',
    'attributed',
  ),
  reason: column('why it is in this state; empty: no reason is needed', 'click_velocity_ip'),
  currency: column('of every amount in the row', 'EUR', 'ISO 4217'),
  amount: column('value of the order', '120.0000', MAJOR),
  refunded: column('of it refunded', '0.0000', MAJOR),
  commission: column('commission of all affiliates it pays', '14.4000', MAJOR),
  own_commission: column('of it that of `affiliate_id`', '12.0000', MAJOR),
  amount_minor: column('value of the order', '12000', MINOR),
  refunded_minor: column('of it refunded', '0', MINOR),
  commission_minor: column('commission of all affiliates it pays', '1440', MINOR),
  own_commission_minor: column('of it that of `affiliate_id`', '1200', MINOR),
  coupon: column('coupon code that credits it; empty: none', 'CAT10'),
  // Freshness.
  shard: column('shard of the stream of clicks', '0'),
  stream_seq: column('last message that was counted', '8123'),
};

/** By `relation.column`, where the text of the name does not fit. */
export const OWN_TEXTS: Readonly<Record<string, ColumnText>> = {
  'analyst_orders.clicked_at': column(
    'time of the click that won it; null: none',
    '2026-11-22 12:00:00.123',
    TIME,
  ),
  'analyst_orders.ip': column('address of the click that won it. Personal', '::ffff:203.0.113.7'),
  'conversions.ip': column('address of the click that won it. Personal', '::ffff:203.0.113.7'),
};

/** The dictionaries, which `dictGet` looks into; analysts of one program cannot. */
export const DICTIONARIES: Readonly<Record<string, { readonly meaning: string; readonly example: string }>> =
  {
    geo: { meaning: 'country of an address', example: "dictGet('geo', 'country', ip)" },
    asn: { meaning: 'autonomous system of an address', example: "dictGet('asn', 'asn', ip)" },
    organisations: {
      meaning: 'owner of an autonomous system',
      example: "dictGet('organisations', 'organisation', asn)",
    },
  };
