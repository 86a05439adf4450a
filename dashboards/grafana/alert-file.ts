import type { Dashboard, Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { ALERT_GROUPS, type Alert, type Question } from './alerts.ts';
import { CLICKHOUSE, POSTGRES, PROMETHEUS } from './data-source-ids.ts';
import type { AlertRule, AlertRuleGroup } from './install/setup.ts';
import { BOARDS } from './links.ts';
import { type ClickHouseQuery, clickhouseQuery, type PostgresQuery, postgresQuery } from './sources.ts';

/** How far back Prometheus looks for the last value. */
const LOOK_BACK_SECONDS = 600;
/** An alert is over when so many evaluations in a row did not name it any more. */
const MISSING_EVALUATIONS = 3;

/** The groups as they are in the files that Grafana reads; install/ makes of them what its API takes. */
export function alertGroups(boards: readonly Dashboard[]): AlertRuleGroup[] {
  return ALERT_GROUPS.map(({ name, interval, alerts }) => ({
    name,
    interval,
    rules: alerts.map((alert) => ruleOf(alert, boards)),
  }));
}

function ruleOf(alert: Alert, boards: readonly Dashboard[]): AlertRule {
  const { uid, title, summary, severity, question, above, noData, panel } = alert;
  return {
    uid: `afflux-${uid}`,
    title,
    condition: 'C',
    data: [
      questionData(question),
      {
        refId: 'C',
        relativeTimeRange: { from: 0, to: 0 },
        datasourceUid: '__expr__',
        model: {
          refId: 'C',
          type: 'threshold',
          datasource: { type: '__expr__', uid: '__expr__' },
          expression: 'A',
          conditions: [{ evaluator: { type: 'gt', params: [above] } }],
        },
      },
    ],
    dashboardUid: BOARDS[panel.board].uid,
    panelId: panelId(boards, panel),
    noDataState: noData,
    execErrState: 'Error',
    for: alert.for,
    keepFiringFor: '5m',
    missing_series_evals_to_resolve: MISSING_EVALUATIONS,
    annotations: { summary, runbook_url: `docs/runbooks.md#${uid}` },
    labels: { severity, service: 'afflux' },
    isPaused: false,
  };
}

function questionData(question: Question): AlertRule['data'][number] {
  if (question.store === 'prometheus') {
    return {
      refId: 'A',
      relativeTimeRange: { from: LOOK_BACK_SECONDS, to: 0 },
      datasourceUid: PROMETHEUS.uid,
      model: {
        refId: 'A',
        datasource: PROMETHEUS,
        expr: question.expr,
        instant: true,
        range: false,
        editorMode: 'code',
      },
    };
  }
  const { store, sql, fromSeconds, toSeconds = 0 } = question;
  const model: ClickHouseQuery | PostgresQuery =
    store === 'clickhouse' ? clickhouseQuery(sql, 'table') : postgresQuery(sql, 'table');
  return {
    refId: 'A',
    relativeTimeRange: { from: fromSeconds, to: toSeconds },
    datasourceUid: (store === 'clickhouse' ? CLICKHOUSE : POSTGRES).uid,
    model,
  };
}

function panelId(boards: readonly Dashboard[], { board, title }: Alert['panel']): number {
  const { uid } = BOARDS[board];
  const panels = (boards.find((each) => each.uid === uid)?.panels ?? []) as Panel[];
  const id = panels.find((panel) => panel.title === title)?.id;
  if (id === undefined) throw new Error(`${uid} has no panel "${title}"`);
  return id;
}
