CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_subnet_feed TO velocity_subnet AS
SELECT
  tupleElement(IPv6CIDRToRange(clicks.ip, if(clicks.ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 64)), 1) AS subnet,
  toStartOfMinute(ts) AS minute,
  count() AS clicks,
  uniqCombinedState(12)(campaign_id) AS campaigns,
  uniqCombinedState(12)(cityHash64(user_agent)) AS user_agents,
  min(ts) AS first_seen,
  max(ts) AS last_seen
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0
GROUP BY subnet, minute
