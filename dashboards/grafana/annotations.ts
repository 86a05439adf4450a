import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { POSTGRES, PROMETHEUS } from './data-source-ids.ts';
import { postgres } from './sources.ts';

/** Batches of payouts, from the ledger. */
export function payoutAnnotation(): dashboard.AnnotationQueryBuilder {
  return new dashboard.AnnotationQueryBuilder()
    .name('Payouts')
    .datasource(POSTGRES)
    .enable(true)
    .hide(false)
    .iconColor('blue')
    .target(
      postgres(
        `
SELECT min(created_at) AS time,
  'Payout batch ' || batch_id || ': ' || count(*) || ' payouts of ' || program AS text,
  'payout,' || min(provider) AS tags
FROM grafana_payouts
WHERE $__timeFilter(created_at)
GROUP BY batch_id, program
ORDER BY time`,
        'table',
      ),
    );
}

/** A start is younger than a step at exactly one of the steps. */
const STEP_SECONDS = 60;

/** Starts of processes, which is what a deploy looks like (and a crash): no tool has to tell Grafana of them. */
export function deployAnnotation(): dashboard.AnnotationQueryBuilder {
  return new dashboard.AnnotationQueryBuilder()
    .name('Deploys and restarts')
    .datasource(PROMETHEUS)
    .enable(true)
    .hide(false)
    .iconColor('purple')
    .expr(`time() - process_start_time_seconds{job="afflux"} < ${STEP_SECONDS}`)
    .step(`${STEP_SECONDS}s`)
    .titleFormat('{{process}} started')
    .tagKeys('process,instance');
}
