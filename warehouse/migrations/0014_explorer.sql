-- From an address, a fingerprint, an autonomous system, an affiliate or a link to its clicks, in the order of time: each
-- projection holds row numbers and what counts need, so that the clicks of a key are counted without the table. Networks
-- are ranges of addresses, and a link is looked up with its affiliate. Older parts get them in the background and are read
-- as before until then.
ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_address (SELECT _part_offset, program_id, flags ORDER BY ip, ts) WITH SETTINGS (index_granularity = 1024);

ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_fingerprint (SELECT _part_offset, program_id, flags ORDER BY fingerprint, ts) WITH SETTINGS (index_granularity = 1024);

ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_asn (SELECT _part_offset, program_id, flags ORDER BY asn, ts) WITH SETTINGS (index_granularity = 1024);

ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_link (SELECT _part_offset, program_id, flags ORDER BY affiliate_id, link_id, ts) WITH SETTINGS (index_granularity = 1024);

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_address;

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_fingerprint;

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_asn;

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_link;
