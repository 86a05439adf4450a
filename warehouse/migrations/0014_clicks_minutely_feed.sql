-- What is older would be dropped at once, and the loader refuses clicks from further ahead than a day.
CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_minutely_feed TO clicks_minutely AS
SELECT * FROM clicks_grouped
WHERE minute > now() - INTERVAL 8 DAY AND minute < now() + INTERVAL 26 HOUR
