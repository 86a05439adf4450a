CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_fingerprint_feed TO velocity_fingerprint AS
SELECT
  clicks.fingerprint AS fingerprint,
  toStartOfMinute(ts) AS minute,
  count() AS clicks,
  uniqCombinedState(12)(campaign_id) AS campaigns,
  uniqCombinedState(12)(cityHash64(user_agent)) AS user_agents,
  min(ts) AS first_seen,
  max(ts) AS last_seen
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0
GROUP BY fingerprint, minute
