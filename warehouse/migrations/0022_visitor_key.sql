-- No query could read the projection by_visitor. The engine compares a condition with a key by the names of their parts, and
-- in the condition toIPv6('::ffff:0.0.0.0') is a constant, which has another name than the function in the key: every search
-- by visitor read every click. So the key is written without functions of constants: an address whose upper 96 bits are
-- 65535 is IPv4. The values are what they were. Under another name, because a part with a projection of the old key must
-- not be taken for one with the new. Older parts get it in the background and are read as before until then.
ALTER TABLE clicks
  MODIFY COLUMN visitor UInt32 ALIAS toUInt32(cityHash64(fingerprint, tupleElement(IPv6CIDRToRange(ip, if(bitShiftRight(toUInt128(ip), 32) = 65535, 120, 48)), 1)));

ALTER TABLE clicks
  ADD PROJECTION IF NOT EXISTS by_visitor_key (SELECT _part_offset ORDER BY toUInt32(cityHash64(fingerprint, tupleElement(IPv6CIDRToRange(ip, if(bitShiftRight(toUInt128(ip), 32) = 65535, 120, 48)), 1)))) WITH SETTINGS (index_granularity = 128);

ALTER TABLE clicks
  DROP PROJECTION IF EXISTS by_visitor;

ALTER TABLE clicks
  MATERIALIZE PROJECTION by_visitor_key;
