-- A table remembers its last insert tokens, one for each partition that an insert writes, of all its partitions together. A
-- block that was replayed from a spool writes to 14 partitions of the velocity tables: 16 shards that load while an insert is
-- unfinished for a minute can make 53,760 tokens (`MIN_DEDUPLICATION_WINDOW` in warehouse/loader/inserter.ts).
ALTER TABLE clicks MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE clicks_hourly MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE clicks_minutely MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE campaigns_hourly MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE campaigns_daily MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE velocity_ip MODIFY SETTING non_replicated_deduplication_window = 100000;

ALTER TABLE velocity_fingerprint MODIFY SETTING non_replicated_deduplication_window = 100000;
