-- Bits of flags: 1 bot, 2 prefetch, 4 head, 8 repeat, 16 paused, 32 expired, 64 suspended,
-- 256 impression, 512 capped; 887 are the invalid ones.
CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_hourly_feed TO campaigns_hourly AS
SELECT
  toStartOfHour(ts) AS hour,
  program_id,
  campaign_id,
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
  uniqCombined64State(14)(ip) AS ips,
  uniqCombined64State(14)(fingerprint) AS visitors
FROM clicks
GROUP BY hour, program_id, campaign_id, flag_group
