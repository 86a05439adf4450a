-- Heads of PostgreSQL's hash chains (its table hash_chain) as they were at an audit, with an Ed25519 signature (base64)
-- over "chain last_id head": rows changed there later do not lead to these heads any more.
CREATE TABLE IF NOT EXISTS signed_heads
(
  chain LowCardinality(String),
  last_id UInt64,
  -- Hexadecimal.
  head String,
  signed_at DateTime64(3, 'UTC'),
  signature String
)
ENGINE = MergeTree
ORDER BY (chain, last_id)
SETTINGS fsync_after_insert = 1;
