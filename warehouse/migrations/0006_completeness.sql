-- Completeness of the counts: watermarks, sealed leases, signed counts.

-- The time up to which every click of a stream shard is in clicks: a figure and its freshness come from one store.
CREATE TABLE IF NOT EXISTS watermarks
(
  shard UInt16,
  complete_to DateTime64(3, 'UTC'),
  stream_seq UInt64,
  updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(complete_to)
ORDER BY shard;

-- Node leases that ended and whose every click is loaded, kept here for the audit when NATS has removed them. ended_at is
-- the time of the lease's last sign of life: no click of it is younger.
CREATE TABLE IF NOT EXISTS sealed_leases
(
  node UInt16,
  started_at DateTime64(3, 'UTC'),
  ended_at DateTime64(3, 'UTC'),
  next_seq UInt64,
  state LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (node, started_at)
SETTINGS fsync_after_insert = 1;

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
SETTINGS fsync_after_insert = 1;
