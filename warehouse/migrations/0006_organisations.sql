CREATE DICTIONARY IF NOT EXISTS organisations
(
  asn UInt32,
  organisation String DEFAULT ''
)
PRIMARY KEY asn
SOURCE(CLICKHOUSE(TABLE 'asn_owners' /*credentials*/))
LAYOUT(HASHED)
LIFETIME(0)
