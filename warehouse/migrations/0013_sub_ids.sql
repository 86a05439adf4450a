-- The sub ids of the click that won an order: reports count orders and money by them.
ALTER TABLE conversions
  ADD COLUMN IF NOT EXISTS sub1 String DEFAULT '' CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS sub2 String DEFAULT '' CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS sub3 String DEFAULT '' CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS sub4 String DEFAULT '' CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS sub5 String DEFAULT '' CODEC(ZSTD(1));
