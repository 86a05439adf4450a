-- The coupon code that credits an order: reports count orders by code.
ALTER TABLE conversions
  ADD COLUMN IF NOT EXISTS coupon LowCardinality(String) DEFAULT '';
