-- Reloaded by "afflux geo load", never by itself. While it is empty every country is ''.
CREATE DICTIONARY IF NOT EXISTS geo
(
  network String,
  country String DEFAULT ''
)
PRIMARY KEY network
SOURCE(CLICKHOUSE(TABLE 'geo_networks' /*credentials*/))
LAYOUT(IP_TRIE)
LIFETIME(0)
