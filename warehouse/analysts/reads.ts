/**
 * What analysts and dashboards may read of the warehouse: clicks, orders, counts and names. Not what proves them (signed
 * counts and heads, leases), nor how the platform keeps itself (migrations, lists of networks).
 */
export const ANALYST_READS = {
  tables: [
    'clicks',
    'clicks_hourly',
    'clicks_minutely',
    'campaigns_hourly',
    'campaigns_daily',
    'velocity_ip',
    'velocity_fingerprint',
    'conversions',
    'names',
    'watermarks',
    'visitors_known',
  ],
  dictionaries: ['geo', 'asn', 'organisations'],
  /** An analyst of one program reads these alone, and in them its program's rows. */
  views: [
    'analyst_clicks',
    'analyst_orders',
    'analyst_campaigns_hourly',
    'analyst_campaigns_daily',
    'analyst_names',
  ],
} as const;
