-- The clicks of one affiliate by hour, campaign and link without those of everybody else in its campaigns: reports of an
-- affiliate, its explorer, and where its newest clicks are. Sorted by program and campaign before the hour, because the
-- numbers of program, campaign and link then cost next to nothing: 3.3 bytes a click with 10 million clicks, 10 with the
-- hour first and the engine's default codec. Without the distinct states, which would take twice as much again: what asks
-- for distinct visitors reads the table. Older parts get it in the background and are read as before until then.
ALTER TABLE clicks_hourly
  MODIFY SETTING default_compression_codec = 'ZSTD(1)', deduplicate_merge_projection_mode = 'rebuild';

ALTER TABLE clicks_hourly
  ADD PROJECTION IF NOT EXISTS by_affiliate (SELECT hour, link_id, flag_group, clicks ORDER BY affiliate_id, program_id, campaign_id, hour);

ALTER TABLE clicks_hourly
  MATERIALIZE PROJECTION by_affiliate;
