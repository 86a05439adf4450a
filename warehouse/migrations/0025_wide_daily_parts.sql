-- A Compact part holds the columns of each 32 rows one behind the other, and the states of campaigns_daily are some hundred
-- times as large as its numbers: reading numbers alone passed by all of them. Merged parts get a file for each column; those of
-- an insert stay Compact, where a file for each column would have to be synced.
ALTER TABLE campaigns_daily MODIFY SETTING min_bytes_for_wide_part = 1048576;
