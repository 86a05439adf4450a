import { DIMENSIONS, ReportBuilder } from '../../ui/reports/report-builder.tsx';

const OPERATOR_DIMENSIONS = ['affiliate', ...DIMENSIONS];
const CONVERSION_METRICS = [
  'conversions',
  'conversions_attributed',
  'conversions_in_review',
  'conversion_rate',
  'revenue_minor',
  'commission_minor',
] as const;

export function ReportsPage() {
  return <ReportBuilder dimensions={OPERATOR_DIMENSIONS} conversionMetrics={CONVERSION_METRICS} />;
}
