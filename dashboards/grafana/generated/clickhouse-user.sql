-- Run on the ClickHouse server as an administrator, with a password of your own and your database's name.
CREATE USER IF NOT EXISTS grafana IDENTIFIED WITH sha256_password BY 'change me'
SETTINGS readonly = 1,
  max_execution_time = 30 MIN 0 MAX 30 CHANGEABLE_IN_READONLY,
  additional_table_filters CHANGEABLE_IN_READONLY,
  max_memory_usage = 4000000000;

GRANT SELECT ON afflux.clicks TO grafana;

GRANT SELECT ON afflux.clicks_hourly TO grafana;

GRANT SELECT ON afflux.clicks_minutely TO grafana;

GRANT SELECT ON afflux.campaigns_hourly TO grafana;

GRANT SELECT ON afflux.campaigns_daily TO grafana;

GRANT SELECT ON afflux.velocity_ip TO grafana;

GRANT SELECT ON afflux.velocity_fingerprint TO grafana;

GRANT SELECT ON afflux.conversions TO grafana;

GRANT SELECT ON afflux.names TO grafana;

GRANT SELECT ON afflux.watermarks TO grafana;

GRANT SELECT ON afflux.visitors_known TO grafana;

GRANT dictGet ON afflux.geo TO grafana;

GRANT dictGet ON afflux.asn TO grafana;

GRANT dictGet ON afflux.organisations TO grafana;
