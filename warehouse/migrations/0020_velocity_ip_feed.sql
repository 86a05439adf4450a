-- Impressions (256) are no clicks. What comes later than a day is no matter of speed, and the loader refuses clicks from
-- further ahead than a day.
CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_ip_feed TO velocity_ip AS
SELECT
  tupleElement(IPv6CIDRToRange(ip, if(ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 64)), 1) AS subnet,
  ip,
  ts,
  campaign_id,
  toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0
