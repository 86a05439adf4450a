-- Distinct addresses and visitors of a campaign's day as numbers: merging the states of a month by day and campaign costs
-- three times what its counts do. Each value is `valid clicks << 32 | distinct`: it says for how many valid clicks it was
-- counted, and holds for the row whose valid clicks are that many. A click that comes later makes it invalid by itself, the
-- states are merged as before, and the day is counted again. `settleDays` (warehouse/reports/settled-days.ts) writes them,
-- those of earlier days too.
ALTER TABLE campaigns_daily
  ADD COLUMN IF NOT EXISTS settled_ips SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS settled_visitors SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1));
