-- One affiliate's clicks of one UTC day as they were when the day was complete, with an Ed25519 signature (base64)
-- over "day affiliate clicks valid_clicks": a later audit counts again and compares.
CREATE TABLE IF NOT EXISTS signed_counts
(
  day Date,
  affiliate_id UInt32,
  clicks UInt64,
  valid_clicks UInt64,
  signed_at DateTime64(3, 'UTC'),
  signature String
)
ENGINE = ReplacingMergeTree(signed_at)
ORDER BY (day, affiliate_id)
SETTINGS fsync_after_insert = 1
