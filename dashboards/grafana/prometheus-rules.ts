import { ALERT_GROUPS, type Alert } from './alerts.ts';

/** The alerts that metrics can say, as rules of a Prometheus with an Alertmanager, for those who run one. */

/** As Grafana keeps an alert up: a value that comes and goes is one alert. */
const KEEP_FIRING_FOR = '5m';

export function prometheusRules(): object {
  const groups = ALERT_GROUPS.map(({ name, interval, alerts }) => ({
    name: `afflux-${name}`,
    interval,
    rules: alerts.flatMap(ruleOf),
  }));
  return { groups: groups.filter(({ rules }) => rules.length > 0) };
}

function ruleOf(alert: Alert): object[] {
  const expr = expression(alert);
  if (expr === undefined) return [];
  const { uid, title, summary, severity, question } = alert;
  return [
    {
      alert: `Afflux${uid.replaceAll(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase())}`,
      expr,
      ...(alert.for !== '0s' && { for: alert.for }),
      keep_firing_for: KEEP_FIRING_FOR,
      labels: { severity, service: 'afflux' },
      annotations: {
        // The labels of an answer in SQL are not those of the metric.
        summary:
          question.store === 'prometheus'
            ? summary.replaceAll('$values.A', '$value')
            : `${title}: {{ $value }}`,
        runbook_url: `docs/runbooks.md#${uid}`,
      },
    },
  ];
}

/** PromQL that has a value while the alert is to fire; undefined: only the stores know. */
function expression({ question, above, metric, noData }: Alert): string | undefined {
  if (question.store !== 'prometheus') return metric;
  const fires = `${question.expr} > ${above}`;
  return noData === 'Alerting' ? `${fires} or absent(up{job="afflux"})` : fires;
}
