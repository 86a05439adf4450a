-- What tells of a person is forgotten after 90 days, the row after five years.
-- A whole month is dropped at once, never rewritten for its rows.
ALTER TABLE clicks
  MODIFY COLUMN ip TTL toDateTime(ts) + INTERVAL 90 DAY,
  MODIFY COLUMN user_agent TTL toDateTime(ts) + INTERVAL 90 DAY,
  MODIFY COLUMN referrer TTL toDateTime(ts) + INTERVAL 90 DAY,
  MODIFY COLUMN query TTL toDateTime(ts) + INTERVAL 90 DAY,
  MODIFY TTL toDateTime(ts) + INTERVAL 5 YEAR
