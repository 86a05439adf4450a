import * as barchart from '@grafana/grafana-foundation-sdk/barchart';
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge';
import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as geomap from '@grafana/grafana-foundation-sdk/geomap';
import * as piechart from '@grafana/grafana-foundation-sdk/piechart';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import * as units from '@grafana/grafana-foundation-sdk/units';
import { currencyExponent } from '../../core/money.ts';
import { MIXED, type Query } from './sources.ts';

/** Any of the SDK's panel builders, as far as the layout needs it. */
export interface PanelSource extends cog.Builder<dashboard.Panel> {
  id(id: number): unknown;
  gridPos(gridPos: dashboard.GridPos): unknown;
}

interface Common {
  readonly title: string;
  /** What it says and what it leaves out: shown behind the panel's i. */
  readonly description: string;
  readonly queries: readonly [Query, ...Query[]];
  /** One of Grafana's units. */
  readonly unit: string;
  readonly decimals?: number;
  /** Series whose names end in a currency are shown in it; `unit` is for those that Grafana does not know. */
  readonly money?: boolean;
}

/** The currencies that Grafana has a unit for. */
const CURRENCY_UNITS = Object.values(units).flatMap((unit) => {
  if (typeof unit !== 'string') return [];
  const currency = /^currency([A-Z]{3})$/.exec(unit)?.[1];
  const decimals = currency && currencyExponent(currency);
  return currency === undefined || decimals === undefined ? [] : [{ currency, unit, decimals }];
});

/** From which value on a colour holds; before the first step it is green. */
export type Steps = readonly (readonly [from: number, colour: string])[];

interface CommonBuilder<Self> {
  title(title: string): Self;
  description(description: string): Self;
  datasource(datasource: common.DataSourceRef): Self;
  targets(targets: cog.Builder<cog.Dataquery>[]): Self;
  unit(unit: string): Self;
  decimals(decimals: number): Self;
  overrideByRegexp(regexp: string, properties: dashboard.DynamicConfigValue[]): Self;
}

function prepared<Builder extends CommonBuilder<Builder>>(builder: Builder, options: Common): Builder {
  const { title, description, queries, unit, decimals, money } = options;
  const [first, ...others] = queries;
  const source = others.every(({ source }) => source === first.source) ? first.source : MIXED;
  builder
    .title(title)
    .description(description)
    .datasource(source)
    .targets([...queries])
    .unit(unit);
  if (money) {
    for (const { currency, ...shown } of CURRENCY_UNITS) {
      builder.overrideByRegexp(`/\\b${currency}$/`, [
        { id: 'unit', value: shown.unit },
        ...(shown.decimals === 2 ? [] : [{ id: 'decimals', value: shown.decimals }]),
      ]);
    }
  }
  return decimals === undefined ? builder : builder.decimals(decimals);
}

export function thresholds(steps: Steps, base = 'green'): dashboard.ThresholdsConfigBuilder {
  return new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps([{ value: null, color: base }, ...steps.map(([value, color]) => ({ value, color }))]);
}

/** Where a click on a cell leads: see links.ts. */
export interface Link {
  readonly title: string;
  readonly url: string;
}

/** How one column looks; by default as the panel's unit says. */
export interface Column {
  readonly unit?: string;
  readonly decimals?: number;
  readonly link?: Link;
  readonly width?: number;
  /** Draws the number as a bar, to be compared down the column. */
  readonly bar?: boolean;
  readonly steps?: Steps;
}

/** Columns by the names the query gives them. */
export type Columns = Readonly<Record<string, Column>>;

/** What any panel can do with a column. */
function fieldProperties({ unit, decimals, link, steps }: Column): dashboard.DynamicConfigValue[] {
  return [
    ...(unit === undefined ? [] : [{ id: 'unit', value: unit }]),
    ...(decimals === undefined ? [] : [{ id: 'decimals', value: decimals }]),
    ...(steps === undefined ? [] : [{ id: 'thresholds', value: thresholds(steps).build() }]),
    ...(link === undefined ? [] : [{ id: 'links', value: [{ ...link, targetBlank: false }] }]),
  ];
}

/** And what only a table can. */
function cellProperties({ width, bar, steps }: Column): dashboard.DynamicConfigValue[] {
  const cell = bar ? { type: 'gauge', mode: 'basic', valueDisplayMode: 'text' } : { type: 'color-text' };
  return [
    ...(width === undefined ? [] : [{ id: 'custom.width', value: width }]),
    ...(bar || steps ? [{ id: 'custom.cellOptions', value: cell }] : []),
  ];
}

/** Big numbers: of the last row, a number for each column. */
export function numbers(
  options: Common & {
    readonly columns?: Columns;
    readonly steps?: Steps;
    /** Two rows, the period before and this one: shows by how much it changed. */
    readonly change?: 'more is good' | 'more is bad' | 'neither';
    /** A number for each row, named by the text beside it, instead of the last row's. */
    readonly perRow?: boolean;
    /** The column whose text names a number, when the query gives series. */
    readonly seriesBy?: string;
  },
): PanelSource {
  const { columns = {}, steps = [], change, perRow = false, seriesBy } = options;
  const isColoured = steps.length > 0 || Object.values(columns).some((column) => column.steps);
  const isNamed = perRow || seriesBy !== undefined || Object.keys(columns).length > 1;
  const panel = prepared(new stat.PanelBuilder(), options)
    .reduceOptions(
      perRow
        ? new common.ReduceDataOptionsBuilder().values(true).limit(10).calcs([])
        : // Of two periods the last one, also where it has no value.
          new common.ReduceDataOptionsBuilder().values(false).calcs([change ? 'last' : 'lastNotNull']),
    )
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(isColoured ? common.BigValueColorMode.Value : common.BigValueColorMode.None)
    .textMode(isNamed ? common.BigValueTextMode.ValueAndName : common.BigValueTextMode.Value)
    .noValue('none')
    // A number without steps of its own is neither good nor bad.
    .thresholds(thresholds(steps, steps.length > 0 ? 'green' : 'text'));
  if (seriesBy) panel.displayName(`\${__field.labels.${seriesBy}}`);
  if (change) {
    panel.showPercentChange(true).percentChangeColorMode(
      {
        'more is good': common.PercentChangeColorMode.Standard,
        'more is bad': common.PercentChangeColorMode.Inverted,
        neither: common.PercentChangeColorMode.SameAsValue,
      }[change],
    );
  }
  for (const [name, column] of Object.entries(columns)) panel.overrideByName(name, fieldProperties(column));
  return panel;
}

/** Values over time. */
export function overTime(
  options: Common & {
    readonly draw: 'lines' | 'bars' | 'stacked bars';
    /** The finest step the table behind it knows. */
    readonly interval?: '1m' | '1h' | '1d';
    /** The column whose text names a series. */
    readonly seriesBy?: string;
    /** Colours by the name of the series. */
    readonly colours?: Readonly<Record<string, string>>;
    readonly steps?: Steps;
    /** Values below zero are shown; otherwise the axis begins at zero. */
    readonly signed?: boolean;
  },
): PanelSource {
  const { draw, interval, seriesBy, colours = {}, steps, signed = false } = options;
  const panel = prepared(new timeseries.PanelBuilder(), options)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .calcs([]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .drawStyle(draw === 'lines' ? common.GraphDrawStyle.Line : common.GraphDrawStyle.Bars)
    .lineWidth(1)
    .fillOpacity(draw === 'lines' ? 8 : 70)
    .showPoints(common.VisibilityMode.Auto)
    .spanNulls(false)
    .stacking(
      new common.StackingConfigBuilder()
        .mode(draw === 'stacked bars' ? common.StackingMode.Normal : common.StackingMode.None)
        .group('A'),
    );
  if (interval) panel.interval(interval);
  if (seriesBy) panel.displayName(`\${__field.labels.${seriesBy}}`);
  if (!signed) panel.min(0);
  if (steps) {
    panel
      .thresholds(thresholds(steps))
      .thresholdsStyle(
        new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Line),
      );
  }
  for (const [name, fixedColor] of Object.entries(colours)) {
    panel.overrideByName(name, [{ id: 'color', value: { mode: 'fixed', fixedColor } }]);
  }
  return panel;
}

/** Rows and columns. */
export function rows(
  options: Common & {
    readonly columns?: Columns;
    readonly sortBy?: string;
    /** What to read into an empty table. */
    readonly empty?: string;
  },
): PanelSource {
  const { columns = {}, sortBy, empty } = options;
  const panel = prepared(new table.PanelBuilder(), options)
    .cellHeight(common.TableCellHeight.Sm)
    .filterable(true)
    .showHeader(true);
  if (empty) panel.noValue(empty);
  if (sortBy) panel.sortBy([new common.TableSortByFieldStateBuilder().displayName(sortBy).desc(true)]);
  for (const [name, column] of Object.entries(columns)) {
    panel.overrideByName(name, [...fieldProperties(column), ...cellProperties(column)]);
  }
  return panel;
}

/** A bar for each row of a table of one text and one number. */
export function bars(options: Common): PanelSource {
  return prepared(new bargauge.PanelBuilder(), options)
    .orientation(common.VizOrientation.Horizontal)
    .displayMode(common.BarGaugeDisplayMode.Basic)
    .valueMode(common.BarGaugeValueMode.Text)
    .showUnfilled(true)
    .min(0)
    .reduceOptions(new common.ReduceDataOptionsBuilder().values(true).calcs([]))
    .thresholds(thresholds([], 'blue'));
}

/** Upright bars over the classes of the first column, in the order of the rows. */
export function histogram(options: Common & { readonly x: string }): PanelSource {
  return prepared(new barchart.PanelBuilder(), options)
    .xField(options.x)
    .showValue(common.VisibilityMode.Auto)
    .stacking(common.StackingMode.None)
    .barWidth(0.9)
    .fillOpacity(70)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(false)
        .displayMode(common.LegendDisplayMode.Hidden)
        .placement(common.LegendPlacement.Bottom)
        .calcs([]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Single)
        .sort(common.SortOrder.None),
    );
}

/** How a whole divides: a table of one text and one number. */
export function shares(options: Common): PanelSource {
  return prepared(new piechart.PanelBuilder(), options)
    .pieType(piechart.PieChartType.Donut)
    .reduceOptions(new common.ReduceDataOptionsBuilder().values(true).calcs([]))
    .legend(
      new piechart.PieChartLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.Table)
        .placement(common.LegendPlacement.Right)
        .values([piechart.PieChartLegendValues.Value, piechart.PieChartLegendValues.Percent])
        .calcs([]),
    );
}

/** A world map; the table has the two letters of each country in `country`, and the number in `value`. */
export function countries(
  options: Common & { readonly country: string; readonly value: string },
): PanelSource {
  const { country, value } = options;
  return prepared(new geomap.PanelBuilder(), options)
    .view(new geomap.MapViewConfigBuilder().id('zero').lat(25).lon(10).zoom(1).allLayers(true))
    .basemap(new common.MapLayerOptionsBuilder().type('default').name('Basemap'))
    .layers([
      new common.MapLayerOptionsBuilder()
        .type('markers')
        .name(value)
        .location(
          new common.FrameGeometrySourceBuilder()
            .mode(common.FrameGeometrySourceMode.Lookup)
            .lookup(country)
            .gazetteer('public/gazetteer/countries.json'),
        )
        .config({
          showLegend: false,
          style: {
            size: { field: value, min: 4, max: 24, fixed: 5 },
            color: { fixed: 'blue' },
            opacity: 0.6,
            symbol: { mode: 'fixed', fixed: 'img/icons/marker/circle.svg' },
          },
        })
        .tooltip(true),
    ])
    .tooltip(new geomap.TooltipOptionsBuilder().mode(geomap.TooltipMode.Details));
}
