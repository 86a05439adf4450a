import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { BOARDS, type Board, siblings, TAG } from './links.ts';
import type { PanelSource } from './panels.ts';

/** Grafana's grid. */
const GRID_WIDTH = 24;

/** Panels beside each other, of one height; their widths sum to 24. */
export interface Line {
  readonly height: number;
  readonly panels: readonly (readonly [width: number, panel: PanelSource])[];
}

export function line(height: number, ...panels: Line['panels']): Line {
  return { height, panels };
}

/** Lines under a heading. */
export interface Section {
  readonly title: string;
  readonly lines: readonly Line[];
}

export interface BoardOptions {
  readonly board: Board;
  readonly description: string;
  /** Where its range begins; it ends now. */
  readonly from: string;
  /** Refresh interval, such as "1m". */
  readonly refresh: string;
  readonly variables: readonly cog.Builder<dashboard.VariableModel>[];
  readonly annotations: readonly cog.Builder<dashboard.AnnotationQuery>[];
  /** What stands above the first heading. */
  readonly top: readonly Line[];
  readonly sections: readonly Section[];
}

/** A dashboard with its panels placed and numbered from top to bottom. */
export function buildBoard(options: BoardOptions): dashboard.Dashboard {
  const { uid, title } = BOARDS[options.board];
  const built = new dashboard.DashboardBuilder(title)
    .uid(uid)
    .description(options.description)
    .tags([TAG])
    .time({ from: options.from, to: 'now' })
    .timezone('browser')
    .refresh(options.refresh)
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .variables([...options.variables])
    .annotations([...options.annotations])
    .links([siblings()]);
  let id = 0;
  let y = 0;
  const place = ({ height, panels }: Line): void => {
    let x = 0;
    for (const [w, panel] of panels) {
      panel.id(++id);
      panel.gridPos({ x, y, w, h: height });
      built.withPanel(panel);
      x += w;
    }
    if (x !== GRID_WIDTH) throw new Error(`${title}: panels ${x} wide in a line of ${GRID_WIDTH}`);
    y += height;
  };
  for (const each of options.top) place(each);
  for (const section of options.sections) {
    built.withRow(new dashboard.RowBuilder(section.title).id(++id).gridPos({ x: 0, y, w: GRID_WIDTH, h: 1 }));
    y += 1;
    for (const each of section.lines) place(each);
  }
  return built.build();
}
