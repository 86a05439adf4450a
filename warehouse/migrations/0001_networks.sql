-- Countries and owners of networks: tables that "afflux geo load" replaces as a whole, and dictionaries over them.

-- The country of a network; IPv4 is mapped (::ffff:1.0.0.0/104).
CREATE TABLE IF NOT EXISTS geo_networks
(
  network String CODEC(ZSTD(1)),
  country LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY network;

-- Reloaded by "afflux geo load", never by itself. While it is empty every country is ''.
CREATE DICTIONARY IF NOT EXISTS geo
(
  network String,
  country String DEFAULT ''
)
PRIMARY KEY network
SOURCE(CLICKHOUSE(TABLE 'geo_networks' /*credentials*/))
LAYOUT(IP_TRIE)
LIFETIME(0);

-- The autonomous system that announces a network; IPv4 is mapped (::ffff:1.0.0.0/120).
CREATE TABLE IF NOT EXISTS asn_networks
(
  network String CODEC(ZSTD(1)),
  asn UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY network;

-- Reloaded by "afflux geo load", never by itself. 0: no system is known to announce the address.
CREATE DICTIONARY IF NOT EXISTS asn
(
  network String,
  asn UInt32 DEFAULT 0
)
PRIMARY KEY network
SOURCE(CLICKHOUSE(TABLE 'asn_networks' /*credentials*/))
LAYOUT(IP_TRIE)
LIFETIME(0);

-- The owner of an autonomous system.
CREATE TABLE IF NOT EXISTS asn_owners
(
  asn UInt32 CODEC(ZSTD(1)),
  organisation String CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY asn;

CREATE DICTIONARY IF NOT EXISTS organisations
(
  asn UInt32,
  organisation String DEFAULT ''
)
PRIMARY KEY asn
SOURCE(CLICKHOUSE(TABLE 'asn_owners' /*credentials*/))
LAYOUT(HASHED)
LIFETIME(0);

-- Loaded lists of networks, with the time.
CREATE TABLE IF NOT EXISTS geo_versions
(
  loaded_at DateTime64(3, 'UTC'),
  list LowCardinality(String),
  source String,
  built_at DateTime('UTC'),
  networks UInt64
)
ENGINE = MergeTree
ORDER BY loaded_at;
