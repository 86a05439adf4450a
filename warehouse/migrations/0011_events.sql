-- What an order is of: reports count those of one event apart.
ALTER TABLE conversions
  ADD COLUMN IF NOT EXISTS event_name LowCardinality(String) DEFAULT 'sale';
