-- One more reason for which a click is not valid: blocked (8192), by an entry of the block lists. A person decided it, so it
-- comes before what the collector saw by itself.

ALTER TABLE clicks_hourly
  MODIFY COLUMN flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9) CODEC(ZSTD(1));

ALTER TABLE clicks_minutely
  MODIFY COLUMN flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9) CODEC(ZSTD(1));

ALTER TABLE clicks_grouped
  MODIFY COLUMN flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9) CODEC(ZSTD(1));

ALTER TABLE clicks_grouped_feed
  MODIFY QUERY
SELECT
  minute,
  program_id,
  campaign_id,
  affiliate_id,
  link_id,
  CAST(toStringCutToZero(letters) AS LowCardinality(String)) AS country,
  CAST(device_number AS Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5)) AS device,
  CAST(group_number AS Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9)) AS flag_group,
  count() AS clicks,
  uniqCombinedState(14)(ip_hash) AS ips,
  uniqCombinedState(14)(visitor) AS distinct_visitors
FROM
(
  SELECT
    toStartOfMinute(ts) AS minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    CAST(substring(country, 1, 2) AS FixedString(2)) AS letters,
    toInt8(transform(device, ['desktop', 'mobile', 'tablet', 'tv', 'bot'], [1, 2, 3, 4, 5], 0)) AS device_number,
    toInt8(multiIf(
      bitAnd(flags, 256) != 0, 6,
      bitAnd(flags, 8192) != 0, 9,
      bitAnd(flags, 1) != 0, 1,
      bitAnd(flags, 2) != 0, 2,
      bitAnd(flags, 4) != 0, 3,
      bitAnd(flags, 624) != 0, 4,
      bitAnd(flags, 2048) != 0, 7,
      bitAnd(flags, 4096) != 0, 8,
      bitAnd(flags, 8) != 0, 5,
      0)) AS group_number,
    toUInt32(cityHash64(ip)) AS ip_hash,
    visitor
  FROM clicks
)
GROUP BY minute, program_id, campaign_id, affiliate_id, link_id, letters, device_number, group_number;

-- The same queries again: a view keeps the types that its columns had.
ALTER TABLE clicks_hourly_feed
  MODIFY QUERY
SELECT
  toStartOfHour(minute) AS hour, program_id, campaign_id, affiliate_id, link_id, country, device, flag_group, clicks, ips,
  distinct_visitors
FROM clicks_grouped;

ALTER TABLE clicks_minutely_feed
  MODIFY QUERY
SELECT
  minute, program_id, campaign_id, affiliate_id, link_id, country, device, flag_group, clicks, ips, distinct_visitors
FROM clicks_grouped
WHERE minute > now() - INTERVAL 8 DAY AND minute < now() + INTERVAL 26 HOUR;
