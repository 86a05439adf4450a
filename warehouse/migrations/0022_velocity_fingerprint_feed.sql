CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_fingerprint_feed TO velocity_fingerprint AS
SELECT fingerprint, ts, campaign_id, toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0
