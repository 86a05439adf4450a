-- Which autonomous system announces a network; IPv4 is mapped (::ffff:1.0.0.0/120). Replaced as a whole by "afflux geo load".
CREATE TABLE IF NOT EXISTS asn_networks
(
  network String CODEC(ZSTD(1)),
  asn UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY network
