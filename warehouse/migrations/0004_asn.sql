-- Reloaded by "afflux geo load", never by itself. 0: nobody is known to announce the address.
CREATE DICTIONARY IF NOT EXISTS asn
(
  network String,
  asn UInt32 DEFAULT 0
)
PRIMARY KEY network
SOURCE(CLICKHOUSE(TABLE 'asn_networks' /*credentials*/))
LAYOUT(IP_TRIE)
LIFETIME(0)
