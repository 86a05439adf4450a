CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_daily_feed TO campaigns_daily AS
SELECT
  toStartOfDay(hour) AS day,
  program_id,
  campaign_id,
  sum(h.clicks) AS clicks,
  sum(h.valid_clicks) AS valid_clicks,
  sum(h.impressions) AS impressions,
  uniqCombinedMergeState(14)(h.ips) AS ips,
  uniqCombinedMergeState(14)(h.visitors) AS visitors
FROM campaigns_hourly AS h
GROUP BY day, program_id, campaign_id
