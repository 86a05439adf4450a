-- Up to which time every click of a stream shard is in clicks: a figure and its freshness come from one store.
CREATE TABLE IF NOT EXISTS watermarks
(
  shard UInt16,
  complete_to DateTime64(3, 'UTC'),
  stream_seq UInt64,
  updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(complete_to)
ORDER BY shard
