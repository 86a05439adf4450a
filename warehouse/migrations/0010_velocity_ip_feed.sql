-- Impressions (256) are no clicks. What comes later than a day is no matter of speed, and the loader refuses clicks from
-- further ahead than a day.
CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_ip_feed TO velocity_ip AS
SELECT
  clicks.ip AS ip,
  toStartOfMinute(ts) AS minute,
  count() AS clicks,
  uniqCombinedState(12)(campaign_id) AS campaigns,
  uniqCombinedState(12)(cityHash64(user_agent)) AS user_agents,
  min(ts) AS first_seen,
  max(ts) AS last_seen
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0
GROUP BY ip, minute
