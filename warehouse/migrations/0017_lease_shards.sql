-- The shard of the click stream that a lease's clicks went to. Leases from before there were shards: the first.
ALTER TABLE sealed_leases
  ADD COLUMN IF NOT EXISTS shard UInt16 DEFAULT 0;
