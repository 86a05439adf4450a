import { DIMENSIONS, ReportBuilder } from '../ui/reports/report-builder.tsx';

const CONVERSION_METRICS = [
  'conversions',
  'conversions_attributed',
  'conversions_in_review',
  'conversion_rate',
  'own_commission_minor',
  'own_epc_minor',
] as const;

export function ReportsPage() {
  return <ReportBuilder dimensions={DIMENSIONS} conversionMetrics={CONVERSION_METRICS} />;
}
