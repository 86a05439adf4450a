-- From an address, a network or a fingerprint to its clicks: each projection holds what counts and timelines need, sorted
-- by the key and the time, so that the clicks of a key are counted without the table. Single clicks are then found by
-- their time. Row numbers would take as much room again. A network is a range of addresses. Older parts get them in the
-- background and are read as before until then.
ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_address (SELECT program_id, flags ORDER BY ip, ts);

ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_fingerprint (SELECT program_id, flags ORDER BY fingerprint, ts);

-- The newest clicks of an autonomous system are searched in the last hour, the last day and so on; of a rare one, which
-- has few in all, this index leaves out the granules without it.
ALTER TABLE clicks
  ADD INDEX IF NOT EXISTS by_asn asn TYPE bloom_filter(0.01);

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_address;

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_fingerprint;

ALTER TABLE clicks
  MATERIALIZE INDEX by_asn;
