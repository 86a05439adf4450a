-- Clicks that come late, from a spool or an import, are not kept by the minute, nor those of a broken clock.
CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_minutely_feed TO clicks_minutely AS
SELECT
  toStartOfMinute(ts) AS minute,
  program_id,
  campaign_id,
  affiliate_id,
  link_id,
  country,
  device,
  multiIf(
    bitAnd(flags, 256) != 0, 'impression',
    bitAnd(flags, 1) != 0, 'bot',
    bitAnd(flags, 2) != 0, 'prefetch',
    bitAnd(flags, 4) != 0, 'head',
    bitAnd(flags, 624) != 0, 'inactive',
    bitAnd(flags, 8) != 0, 'repeat',
    'ok') AS flag_group,
  count() AS clicks,
  countIf(bitAnd(flags, 887) = 0) AS valid_clicks,
  uniqCombined64State(ip) AS ips,
  uniqCombined64State(fingerprint) AS visitors
FROM clicks
WHERE ts > now() - INTERVAL 8 DAY AND ts < now() + INTERVAL 26 HOUR
GROUP BY minute, program_id, campaign_id, affiliate_id, link_id, country, device, flag_group
