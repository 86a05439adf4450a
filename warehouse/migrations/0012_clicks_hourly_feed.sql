CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_hourly_feed TO clicks_hourly AS
SELECT toStartOfHour(minute) AS hour, * EXCEPT minute FROM clicks_grouped
