import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import type { Schemas } from '../../data/api.ts';
import { daysOf, secondsOfDay } from '../../data/period.ts';
import { figure } from '../../data/report.ts';
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
import { Card, Empty } from '../basics.tsx';
import { Bar, TimeChart } from '../charts.tsx';
import { Select } from '../forms.tsx';
import { type Column, Table } from '../table.tsx';

/** How a report is shown, chosen on the page or saved, and its file. */

type Row = Schemas['Report']['rows'][number];

/** Names of these are shown for their ids. */
export const NAMED = ['campaigns', 'links', 'affiliates'] as const;
const ID_DIMENSIONS = new Set(['campaign', 'affiliate', 'link']);

/** A report as a chart where days are all that it is by, and as a table. */
export function Result(props: {
  report: Schemas['Report'];
  groups: readonly string[];
  metrics: readonly string[];
  names: ReadonlyMap<string, string>;
  currency: string;
  /** Of its days. */
  zone: string;
}) {
  const { report, groups, metrics, names, currency, zone } = props;
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
      {groups.length === 1 && groups[0] === 'day' && zone === TIME_ZONE && metrics.includes('clicks') && (
        <Course report={report} metrics={metrics} />
      )}
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
function Course({ report, metrics }: { report: Schemas['Report']; metrics: readonly string[] }) {
  const { theme } = useSession();
  const days = daysOf(report);
  const byDay = new Map(report.rows.map((row) => [String(row.day), row]));
  return (
    <Card title={t('reportBuilder.clicks_by_day')}>
      <TimeChart
        label={t('reportBuilder.clicks_by_day')}
        theme={theme}
        times={days.map(secondsOfDay)}
        series={['clicks', 'valid_clicks']
          .filter((name) => metrics.includes(name))
          .map((name, i) => ({
            label: TITLES[name] ?? words(name),
            color: `--chart-${2 - i}`,
            values: days.map((day) => figure(byDay.get(day), name)),
            format: formatCompact,
          }))}
      />
    </Card>
  );
}

export const TITLES: Readonly<Record<string, string>> = {
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
export function inUnits(metrics: string): string {
  return metrics
    .split(',')
    .map((name) => name.replace(/_minor$/, ''))
    .join(',');
}

/** The same report as a file, streamed by the server. */
export function Export({ query }: { query: Readonly<Record<string, string>> }) {
  const [format, setFormat] = useState('csv');
  const file = { ...query, format };
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
