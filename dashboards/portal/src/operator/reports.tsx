import { ReportBuilder } from '../ui/report-builder.tsx';

const DIMENSIONS = [
  'day',
  'week',
  'month',
  'hour',
  'affiliate',
  'campaign',
  'link',
  'country',
  'device',
  'verdict',
  'os',
  'browser',
  'language',
  'referrer_domain',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
  'utm_source',
  'utm_medium',
  'utm_campaign',
] as const;
const CONVERSION_METRICS = [
  'conversions',
  'conversions_attributed',
  'conversions_in_review',
  'conversion_rate',
  'revenue_minor',
  'commission_minor',
] as const;

export function ReportsPage() {
  return <ReportBuilder dimensions={DIMENSIONS} conversionMetrics={CONVERSION_METRICS} />;
}
