CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_daily_feed TO campaigns_daily AS
SELECT
  toStartOfDay(hour) AS day,
  program_id,
  campaign_id,
  flag_group,
  sum(clicks) AS clicks,
  uniqCombinedMergeState(14)(ips) AS ips,
  uniqCombinedMergeState(14)(visitors) AS visitors
FROM campaigns_hourly
GROUP BY day, program_id, campaign_id, flag_group
