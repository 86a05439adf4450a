-- Which country a network is in; IPv4 is mapped (::ffff:1.0.0.0/104). Replaced as a whole by "afflux geo load".
CREATE TABLE IF NOT EXISTS geo_networks
(
  network String CODEC(ZSTD(1)),
  country LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY network
