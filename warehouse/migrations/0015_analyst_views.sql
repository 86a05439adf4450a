-- What analysts read beside the tables: money in units of its currency, names beside ids, counts instead of states.
-- A view reads with its owner's rights, and shows its reader the rows that are the reader's by the setting query_cache_tag,
-- which is fixed for analysts: 'analyst' reads every program, 'analyst_prg_7' program 7, and any other value none.
-- A filter of the reader would be computed with the owner's rights, of tables that the reader may not read: none is taken here.
-- PREWHERE, so that a condition of the reader is never computed of a row that is not shown: its error would tell of it.

CREATE VIEW IF NOT EXISTS analyst_clicks
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
  ts AS clicked_at, program_id, campaign_id, affiliate_id, link_id,
  multiIf(
    bitAnd(flags, 256) != 0, 'impression',
    bitAnd(flags, 8192) != 0, 'blocked',
    bitAnd(flags, 1) != 0, 'bot',
    bitAnd(flags, 2) != 0, 'prefetch',
    bitAnd(flags, 4) != 0, 'head',
    bitAnd(flags, 624) != 0, 'inactive',
    bitAnd(flags, 2048) != 0, 'forced',
    bitAnd(flags, 4096) != 0, 'flood',
    bitAnd(flags, 8) != 0, 'repeat',
    'ok') AS counted_as,
  counted_as IN ('ok', 'repeat') AS is_valid,
  bitAnd(flags, 1024) != 0 AS opted_out,
  country, asn, dictGet('organisations', 'organisation', asn) AS network_owner,
  device, os, browser, language, referrer_domain,
  sub1, sub2, sub3, sub4, sub5, utm_source, utm_medium, utm_campaign, utm_term, utm_content,
  rule, destination, visitor, ip, fingerprint, user_agent, referrer, query, node, seq
FROM clicks
PREWHERE getSetting('query_cache_tag') = 'analyst'
  OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
SETTINGS additional_table_filters = {};

CREATE VIEW IF NOT EXISTS analyst_orders
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
  conversion_id, program_id, programs.name AS program, campaign_id, campaigns.name AS campaign,
  affiliate_id, affiliates.name AS affiliate, link_id, links.name AS link_code,
  event_name, state, reason, occurred_at, received_at, click_ts AS clicked_at, currency,
  toDecimal128(amount_minor, 4) / units AS amount,
  toDecimal128(refunded_minor, 4) / units AS refunded,
  toDecimal128(commission_minor, 4) / units AS commission,
  toDecimal128(own_commission_minor, 4) / units AS own_commission,
  coupon, country, sub1, sub2, sub3, sub4, sub5, ip, fingerprint
FROM
(
  SELECT
    *, country,
    transform(toString(currency), ['BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF', 'BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND', 'CLF', 'UYW'],
      [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 10000, 10000], 100) AS units
  FROM conversions FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
) AS orders
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'program'
) AS programs ON programs.id = orders.program_id
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'campaign'
) AS campaigns ON campaigns.id = orders.campaign_id
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'affiliate'
) AS affiliates ON affiliates.id = orders.affiliate_id
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'link'
) AS links ON links.id = orders.link_id
SETTINGS additional_table_filters = {};

CREATE VIEW IF NOT EXISTS analyst_campaigns_hourly
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
  hour, program_id, programs.name AS program, campaign_id, campaigns.name AS campaign,
  clicks, valid_clicks, impressions, visitors, addresses
FROM
(
  SELECT
    hour, program_id, campaign_id,
    sum(clicks) AS clicks, sum(valid_clicks) AS valid_clicks, sum(impressions) AS impressions,
    uniqCombinedMerge(14)(distinct_visitors) AS visitors, uniqCombinedMerge(14)(ips) AS addresses
  FROM campaigns_hourly
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  GROUP BY hour, program_id, campaign_id
) AS counts
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'program'
) AS programs ON programs.id = counts.program_id
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'campaign'
) AS campaigns ON campaigns.id = counts.campaign_id
SETTINGS additional_table_filters = {};

CREATE VIEW IF NOT EXISTS analyst_campaigns_daily
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
  day, program_id, programs.name AS program, campaign_id, campaigns.name AS campaign,
  clicks, valid_clicks, impressions, visitors, addresses
FROM
(
  SELECT
    day, program_id, campaign_id,
    sum(clicks) AS clicks, sum(valid_clicks) AS valid_clicks, sum(impressions) AS impressions,
    uniqCombinedMerge(14)(distinct_visitors) AS visitors, uniqCombinedMerge(14)(ips) AS addresses
  FROM campaigns_daily
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  GROUP BY day, program_id, campaign_id
) AS counts
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'program'
) AS programs ON programs.id = counts.program_id
LEFT JOIN (
  SELECT id, name
  FROM names FINAL
  PREWHERE getSetting('query_cache_tag') = 'analyst'
    OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
  WHERE kind = 'campaign'
) AS campaigns ON campaigns.id = counts.campaign_id
SETTINGS additional_table_filters = {};

CREATE VIEW IF NOT EXISTS analyst_names
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT kind, id, program_id, name
FROM names FINAL
PREWHERE getSetting('query_cache_tag') = 'analyst'
  OR program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$'))
SETTINGS additional_table_filters = {};
