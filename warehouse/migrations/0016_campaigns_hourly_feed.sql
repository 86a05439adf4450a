CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_hourly_feed TO campaigns_hourly AS
SELECT
  toStartOfHour(minute) AS hour,
  program_id,
  campaign_id,
  sumIf(g.clicks, flag_group != 'impression') AS clicks,
  sumIf(g.clicks, flag_group IN ('ok', 'repeat')) AS valid_clicks,
  sumIf(g.clicks, flag_group = 'impression') AS impressions,
  uniqCombinedMergeStateIf(14)(g.ips, flag_group IN ('ok', 'repeat')) AS ips,
  uniqCombinedMergeStateIf(14)(g.visitors, flag_group IN ('ok', 'repeat')) AS visitors
FROM clicks_grouped AS g
GROUP BY hour, program_id, campaign_id
