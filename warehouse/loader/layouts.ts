import {
  CLICK_RECORD_VERSION,
  type ClickRecord,
  type ColumnLayout,
  decodeColumns,
  encodeClick,
} from '../../core/clicks/click-record.ts';

/** An earlier layout of a click's bytes, and the conversion of such a click to the current one. */
export interface EarlierLayout {
  readonly version: number;
  /** In the order of a row's bytes. */
  readonly columns: readonly ColumnLayout[];
  /** A row's values by column name, as the current record: new columns get their default. */
  upgrade(row: Readonly<Record<string, unknown>>): ClickRecord;
}

/**
 * The record's version before {@link CLICK_RECORD_VERSION}. A new version moves the old columns here, so that batches
 * of collectors, streams and spools of the release before are loaded; the layout before that is dropped.
 */
const PREVIOUS_LAYOUT: EarlierLayout | undefined = undefined;

/** The layouts that can be loaded beside the current one, by version. */
export type EarlierLayouts = ReadonlyMap<number, EarlierLayout>;

export function layoutsOf(...layouts: readonly (EarlierLayout | undefined)[]): EarlierLayouts {
  return new Map(layouts.flatMap((layout) => (layout ? [[layout.version, layout] as const] : [])));
}

export const EARLIER_LAYOUTS = layoutsOf(PREVIOUS_LAYOUT);

/**
 * A batch's rows in the current layout: its own bytes where they are in it already.
 * @throws OperatingError `malformed_batch` when they do not decode.
 */
export function toCurrentLayout(
  data: Buffer,
  { version, rows, layouts }: { version: number; rows: number; layouts: EarlierLayouts },
): Buffer {
  const layout = layouts.get(version);
  if (!layout) return data;
  return Buffer.concat(
    decodeColumns(layout.columns, data, rows).map((row) => encodeClick(layout.upgrade(row))),
  );
}

export type Support = 'supported' | 'newer' | 'outdated';

/** Whether batches of a version can be loaded, or why not. */
export function supportOf(version: number, layouts: EarlierLayouts): Support {
  if (version === CLICK_RECORD_VERSION || layouts.has(version)) return 'supported';
  return version > CLICK_RECORD_VERSION ? 'newer' : 'outdated';
}
