import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { formatDay, formatShortDay, formatTime } from '../text/format.ts';
import { t } from '../text/t.ts';

/** Charts: uPlot for time axes, plain SVG for small trends. */

export interface Series {
  readonly label: string;
  /** A custom property of style.css, e.g. `--chart-1`. */
  readonly color: string;
  readonly values: readonly (number | null)[];
  /** Which scale it belongs to: the left axis, or the right one. */
  readonly side?: 'left' | 'right';
  readonly format: (value: number) => string;
  readonly bars?: boolean;
}

const HEIGHT_PX = 260;
const BAR_SHARE = 0.62;
const MAX_BAR_PX = 48;

function property(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** @param props.times Unix seconds, ascending. */
export function TimeChart(props: {
  label: string;
  times: readonly number[];
  series: readonly Series[];
  theme: string;
  /** Its steps are shorter than a day, and lines. */
  clock?: boolean;
}) {
  const holder = useRef<HTMLDivElement>(null);
  const { times, series, theme, clock = false } = props;
  // Unchanged figures must not rebuild the chart under the pointer.
  const figures = JSON.stringify([times, series.map(({ values }) => values)]);
  // The theme's colours are read from the page
  useEffect(() => {
    const element = holder.current;
    if (!element) return;
    const plot = new uPlot(
      optionsOf({ series, clock, width: element.clientWidth }),
      [[...times], ...series.map(({ values }) => [...values])],
      element,
    );
    // Until the pointer is on a day, the legend shows the latest one; this needs a finished chart.
    const frame = requestAnimationFrame(() => plot.setLegend({ idx: times.length - 1 }));
    const observer = new ResizeObserver(() =>
      plot.setSize({ width: element.clientWidth, height: HEIGHT_PX }),
    );
    observer.observe(element);
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      plot.destroy();
    };
  }, [figures, theme]);
  return <div class="chart" ref={holder} role="img" aria-label={props.label} />;
}

function optionsOf(props: { series: readonly Series[]; clock: boolean; width: number }): uPlot.Options {
  const { series, clock, width } = props;
  const line = property('--line');
  const muted = property('--muted');
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: muted, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  const valuesOf = (side: string) => {
    const one = series.find((each) => (each.side ?? 'left') === side);
    return (_plot: uPlot, ticks: number[]) => ticks.map((tick) => one?.format(tick) ?? String(tick));
  };
  const hasRight = series.some(({ side }) => side === 'right');
  const bars = uPlot.paths.bars?.({ size: [BAR_SHARE, MAX_BAR_PX], radius: 0.2 });
  return {
    width,
    height: HEIGHT_PX,
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    scales: {
      x: clock ? {} : { range: withMargins },
      left: { range: fromZero },
      ...(hasRight && { right: { range: fromZero } }),
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        // The axis of a clock shows hours where it spans a day, and days where it spans weeks.
        ...(!clock && { values: (_plot, days) => days.map((at) => formatShortDay(at * 1_000)) }),
      },
      { ...axis, scale: 'left', size: 64, incrs: WHOLE_STEPS, values: valuesOf('left') },
      ...(hasRight
        ? [
            {
              ...axis,
              scale: 'right',
              side: 1 as const,
              size: 72,
              incrs: WHOLE_STEPS,
              grid: { show: false },
              values: valuesOf('right'),
            },
          ]
        : []),
    ],
    series: [
      {
        label: clock ? t('charts.time') : t('charts.day'),
        value: (_plot, at) => (at === null ? '–' : timeOf(at, clock)),
      },
      ...series.map((one) => ({
        label: one.label,
        scale: one.side ?? 'left',
        stroke: property(one.color),
        width: one.bars ? 0 : 2,
        points: { show: one.values.length < 2 },
        value: (_plot: uPlot, value: number | null) => (value === null ? '–' : one.format(value)),
        ...(one.bars && bars
          ? { paths: bars, fill: property(one.color) }
          : { fill: `color-mix(in srgb, ${property(one.color)} 10%, transparent)` }),
      })),
    ],
  };
}

/** Unix seconds as the legend shows them. */
function timeOf(at: number, clock: boolean): string {
  return clock ? formatTime(new Date(at * 1_000).toISOString()) : formatDay(at * 1_000);
}

/** Figures are whole: counts and minor units. Smaller steps would show the same figure at several ticks. */
const WHOLE_STEPS = Array.from({ length: 15 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** power),
).flat();

const HALF_DAY_S = 43_200;

/** The first and the last bar are drawn whole. */
function withMargins(_plot: uPlot, first: number, last: number): uPlot.Range.MinMax {
  return [first - HALF_DAY_S, last + HALF_DAY_S];
}

function fromZero(_plot: uPlot, _min: number, max: number): uPlot.Range.MinMax {
  return [0, max > 0 ? max * 1.1 : 1];
}

const SPARK = { width: 120, height: 32 };

/** A line without axes, for a trend beside its figure. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  const most = Math.max(1, ...values);
  const step = SPARK.width / Math.max(1, values.length - 1);
  const points = values.map(
    (value, i) =>
      `${(i * step).toFixed(1)},${(SPARK.height - 2 - (value / most) * (SPARK.height - 4)).toFixed(1)}`,
  );
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${SPARK.width} ${SPARK.height}`}
      preserveAspectRatio="none"
      role="img"
    >
      <title>{label}</title>
      <polygon points={`0,${SPARK.height} ${points.join(' ')} ${SPARK.width},${SPARK.height}`} />
      <polyline points={points.join(' ')} />
    </svg>
  );
}

/** A bar below a table figure: its share of the largest one. */
export function Bar({ share }: { share: number }) {
  return (
    <span class="bar" aria-hidden="true">
      <span style={{ width: `${Math.max(0, Math.min(100, share * 100))}%` }} />
    </span>
  );
}
