CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_hourly_feed TO campaigns_hourly AS
SELECT
  toStartOfHour(minute) AS hour,
  program_id,
  campaign_id,
  flag_group,
  sum(clicks) AS clicks,
  uniqCombinedMergeState(14)(ips) AS ips,
  uniqCombinedMergeState(14)(visitors) AS visitors
FROM clicks_grouped
GROUP BY hour, program_id, campaign_id, flag_group
