-- Whose an autonomous system is. Replaced as a whole by "afflux geo load".
CREATE TABLE IF NOT EXISTS asn_owners
(
  asn UInt32 CODEC(ZSTD(1)),
  organisation String CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY asn
