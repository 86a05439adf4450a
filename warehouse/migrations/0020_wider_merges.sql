-- Small parts are merged when there are some 17 of them instead of 5: each row is rewritten a third as often. The engine takes a
-- part for 5 MB larger than it is, so those of the velocity tables and the rollups were merged again with every few inserts.
-- The bound falls with the number and the age of the parts: a partition in use has up to 20 parts instead of 7, and one that
-- gets no more clicks is merged on, small parts within an hour.
ALTER TABLE clicks MODIFY SETTING merge_selector_base = 20;

ALTER TABLE clicks_hourly MODIFY SETTING merge_selector_base = 20;

ALTER TABLE clicks_minutely MODIFY SETTING merge_selector_base = 20;

ALTER TABLE campaigns_hourly MODIFY SETTING merge_selector_base = 20;

ALTER TABLE campaigns_daily MODIFY SETTING merge_selector_base = 20;

ALTER TABLE velocity_ip MODIFY SETTING merge_selector_base = 20;

ALTER TABLE velocity_fingerprint MODIFY SETTING merge_selector_base = 20;
