import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { daysOf, lastDays, PERIODS, secondsOfDay } from '../../data/period.ts';
import { figure } from '../../data/report.ts';
import { useData } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import {
  formatCalendarDay,
  formatCompact,
  formatCount,
  formatMinor,
  formatMonth,
  formatShare,
  formatTime,
  TIME_ZONE,
  words,
} from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem } from '../basics.tsx';
import { Bar, TimeChart } from '../charts.tsx';
import { Segments, Select } from '../forms.tsx';
import { CompleteTo } from '../freshness.tsx';
import { type Column, Table } from '../table.tsx';
import { SaveReport } from './save-report.tsx';
import { SavedReports } from './saved-reports.tsx';

/** Dimensions for every role; operators also have affiliates. */
export const DIMENSIONS = [
  'day',
  'week',
  'month',
  'hour',
  'campaign',
  'link',
  'country',
  'device',
  'flag_group',
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
  'coupon',
] as const;

/** Reports by any of the API's dimensions: a chart where time is one, always a table, and a file. */

type Row = Schemas['Report']['rows'][number];

const CLICK_METRICS = ['clicks', 'valid_clicks', 'unique_visitors'] as const;
/** Dimensions of conversions; all others exist for clicks only, but {@link COUPON}. */
const OF_CONVERSIONS = new Set([
  '',
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'campaign',
  'affiliate',
  'link',
  'country',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
]);
/** The code that credits an order: no click has one, and nothing is counted per click. */
const COUPON = 'coupon';
const PER_CLICK = new Set(['conversion_rate', 'epc_minor', 'own_epc_minor']);
/** The period of a saved report that is nearest to the one that is shown. */
const RANGE_OF: Readonly<Record<string, 'yesterday' | 'last_7_days' | 'last_30_days' | 'last_90_days'>> = {
  '1': 'yesterday',
  '7': 'last_7_days',
  '30': 'last_30_days',
  '90': 'last_90_days',
};
const MOST_ROWS = 500;
const ID_DIMENSIONS = new Set(['campaign', 'affiliate', 'link']);
const NAMED = ['campaigns', 'links', 'affiliates'] as const;

export function ReportBuilder(props: {
  dimensions: readonly string[];
  conversionMetrics: readonly string[];
}) {
  const { program } = useSession();
  const [days, setDays] = useParameter('days', '30');
  const [first, setFirst] = useParameter('by', 'day');
  const [chosen, setSecond] = useParameter('then', '');
  const seconds = props.dimensions.filter((name) => mayFollow(name, first));
  const second = seconds.includes(chosen) ? chosen : '';
  const groups = [first, second].filter((name) => name !== '');
  const metrics = metricsOf(groups, props.conversionMetrics);
  const byTime = first === 'day' || first === 'week' || first === 'month' || first === 'hour';
  const query = {
    ...lastDays(Number(days)),
    time_zone: TIME_ZONE,
    group_by: groups.join(','),
    metrics: metrics.join(','),
    program_id: program.id,
    order_by: byTime ? first : `-${metrics[0]}`,
  };
  const { data, error, reload } = useData(
    async (signal) =>
      await take(
        api.GET('/v1/reports', { params: { query: { ...query, totals: true, limit: MOST_ROWS } }, signal }),
      ),
    [query],
    { page: 'reports' },
  );
  const names = useNames(NAMED);
  const [saving, setSaving] = useState(false);
  const [saved, setSaved] = useState(0);
  return (
    <Page
      title={t('common.reports')}
      lead={<CompleteTo at={data?.complete_to} />}
      actions={<Segments label={t('common.period')} value={days} onChange={setDays} choices={PERIODS} />}
    >
      <Card>
        <div class="filters">
          <Select
            label={t('common.by')}
            value={first}
            onChange={setFirst}
            choices={choicesOf(props.dimensions)}
          />
          <Select
            label={t('reportBuilder.then_by')}
            value={second}
            onChange={setSecond}
            choices={[{ value: '', text: t('common.none') }, ...choicesOf(seconds)]}
          />
          <Export query={query} />
          <Button onClick={() => setSaving(true)}>{t('savedReports.save_report')}</Button>
        </div>
        <Hint groups={groups} />
      </Card>
      <Problem error={error} onRetry={reload} />
      {data === undefined && error === undefined && <Loading />}
      {data && (
        <Result report={data} groups={groups} metrics={metrics} names={names} currency={program.currency} />
      )}
      <SavedReports version={saved} />
      {saving && (
        <SaveReport
          query={{
            group_by: query.group_by,
            metrics: inUnits(query.metrics),
            order_by: inUnits(query.order_by),
          }}
          range={RANGE_OF[days] ?? 'last_30_days'}
          onClose={() => setSaving(false)}
          onSaved={() => {
            setSaving(false);
            setSaved(saved + 1);
          }}
        />
      )}
    </Page>
  );
}

function choicesOf(dimensions: readonly string[]) {
  return dimensions.map((value) => ({ value, text: TITLES[value] ?? words(value) }));
}

/** What is of clicks alone says nothing of codes. */
function mayFollow(name: string, first: string): boolean {
  if (name === first) return false;
  if (first === COUPON) return OF_CONVERSIONS.has(name);
  return name !== COUPON || OF_CONVERSIONS.has(first);
}

/** Figures that exist for all of these dimensions. */
function metricsOf(groups: readonly string[], ofConversions: readonly string[]): string[] {
  if (groups.includes(COUPON)) return ofConversions.filter((name) => !PER_CLICK.has(name));
  return [...CLICK_METRICS, ...(isOfOrders(groups) ? ofConversions : [])];
}

function isOfOrders(groups: readonly string[]): boolean {
  return groups.every((name) => OF_CONVERSIONS.has(name));
}

function Hint({ groups }: { groups: readonly string[] }) {
  if (groups.includes(COUPON)) {
    return <p class="hint">{t('reportBuilder.by_the_code_that_credits')}</p>;
  }
  if (isOfOrders(groups)) return null;
  return <p class="hint">{t('reportBuilder.this_dimension_exists_for_clicks')}</p>;
}

function Result(props: {
  report: Schemas['Report'];
  groups: readonly string[];
  metrics: readonly string[];
  names: ReadonlyMap<string, string>;
  currency: string;
}) {
  const { report, groups, metrics, names, currency } = props;
  const { rows, totals, truncated } = report;
  if (rows.length === 0) {
    return (
      <Card>
        <Empty title={t('reportBuilder.no_data_in_this_period')}>
          {t('reportBuilder.choose_a_longer_period')}
        </Empty>
      </Card>
    );
  }
  const [main = 'clicks'] = metrics;
  const most = Math.max(1, ...rows.map((row) => figure(row, main)));
  const columns: Column<Row>[] = [
    ...groups.map((name, i) => ({
      title: TITLES[name] ?? words(name),
      head: i === 0,
      cell: (row: Row) => valueText(row, name, names),
    })),
    ...metrics.map((name) => ({
      title: TITLES[name] ?? words(name),
      numeric: true,
      cell: (row: Row) => (
        <>
          {metricText(row, name, currency)}
          {name === main && row !== totals && <Bar share={figure(row, main) / most} />}
        </>
      ),
    })),
  ];
  return (
    <>
      {groups.length === 1 && groups[0] === 'day' && <Course report={report} />}
      <Card>
        <Table
          label={t('reportBuilder.report')}
          columns={columns}
          rows={totals ? [totals, ...rows] : rows}
          rowKey={(row) => groups.map((name) => keyOf(row, name)).join('|') || 'total'}
        />
        {metrics.includes('unique_visitors') && (
          <p class="note">{t('reportBuilder.visitors_distinct_browsers_user_agent')}</p>
        )}
        {truncated && (
          <p class="note">
            {t('reportBuilder.only_the_first_rows_rows', { rows: formatCount(rows.length) })}
          </p>
        )}
      </Card>
    </>
  );
}

/** By day, including days without data. */
function Course({ report }: { report: Schemas['Report'] }) {
  const { theme } = useSession();
  const days = daysOf(report);
  const byDay = new Map(report.rows.map((row) => [String(row.day), row]));
  return (
    <Card title={t('reportBuilder.clicks_by_day')}>
      <TimeChart
        label={t('reportBuilder.clicks_by_day')}
        theme={theme}
        times={days.map(secondsOfDay)}
        series={['clicks', 'valid_clicks'].map((name, i) => ({
          label: TITLES[name] ?? words(name),
          color: `--chart-${2 - i}`,
          values: days.map((day) => figure(byDay.get(day), name)),
          format: formatCompact,
        }))}
      />
    </Card>
  );
}

const TITLES: Readonly<Record<string, string>> = {
  coupon: t('reportBuilder.coupon_code'),
  valid_clicks: t('reportBuilder.valid_clicks'),
  unique_visitors: t('reportBuilder.visitors'),
  conversions: t('common.conversions'),
  conversions_attributed: t('common.credited'),
  conversions_in_review: t('common.in_review'),
  conversions_rejected: t('common.rejected'),
  conversion_rate: t('common.rate'),
  revenue_minor: t('common.order_value'),
  commission_minor: t('common.commissions'),
  epc_minor: t('reportBuilder.commissions_per_click'),
  own_commission_minor: t('common.commission'),
  own_epc_minor: t('reportBuilder.commission_per_click'),
};

/** Days and times of a report as on every page. */
const TIMES: Readonly<Record<string, (value: string) => string>> = {
  hour: formatTime,
  day: formatCalendarDay,
  week: formatCalendarDay,
  month: formatMonth,
};

function keyOf(row: Row, name: string): string {
  return String(row[ID_DIMENSIONS.has(name) ? `${name}_id` : name] ?? '');
}

function valueText(row: Row, name: string, names: ReadonlyMap<string, string>): string {
  const key = ID_DIMENSIONS.has(name) ? `${name}_id` : name;
  // Totals have no dimensions.
  if (!(key in row)) return t('common.all');
  const value = String(row[key] ?? '');
  if (value === '') return t('reportBuilder.no_value');
  return TIMES[name]?.(value) ?? names.get(value) ?? value;
}

function metricText(row: Row, name: string, currency: string): string {
  if (row[name] === null) return '–';
  const value = figure(row, name);
  if (name.endsWith('_minor')) return formatMinor(value, currency);
  return name === 'conversion_rate' ? formatShare(value) : formatCount(value);
}

/** Amounts of files are in units of their currency. */
function inUnits(metrics: string): string {
  return metrics
    .split(',')
    .map((name) => name.replace(/_minor$/, ''))
    .join(',');
}

/** The same report as a file, streamed by the server. */
function Export({ query }: { query: Record<string, string> & { metrics: string; order_by: string } }) {
  const [format, setFormat] = useState('csv');
  const file = { ...query, metrics: inUnits(query.metrics), order_by: inUnits(query.order_by), format };
  return (
    <>
      <Select
        label={t('common.file')}
        value={format}
        onChange={setFormat}
        choices={[
          { value: 'csv', text: 'CSV' },
          { value: 'parquet', text: 'Parquet' },
          { value: 'arrow', text: 'Arrow' },
        ]}
      />
      <a class="button" href={`/v1/reports?${new URLSearchParams(file)}`} download={`report.${format}`}>
        {t('common.export')}
      </a>
    </>
  );
}
