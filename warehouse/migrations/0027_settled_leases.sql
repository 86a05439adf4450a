-- Node leases that ended and whose every click is loaded, kept here for the audit when NATS forgets them. ended_at is the
-- time of the lease's last word: no click of it is younger.
CREATE TABLE IF NOT EXISTS settled_leases
(
  node UInt16,
  started_at DateTime64(3, 'UTC'),
  ended_at DateTime64(3, 'UTC'),
  next_seq UInt64,
  state LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (node, started_at)
SETTINGS fsync_after_insert = 1
