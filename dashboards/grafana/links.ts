import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import type { Column, Columns } from './panels.ts';

/** The dashboards by the uid of their address. */
export const BOARDS = {
  campaigns: { uid: 'afflux-campaigns', title: 'Campaigns' },
  affiliate: { uid: 'afflux-affiliate', title: 'Affiliate' },
  fraud: { uid: 'afflux-fraud', title: 'Fraud and velocity' },
  pipeline: { uid: 'afflux-pipeline', title: 'Pipeline' },
  money: { uid: 'afflux-money', title: 'Money' },
} as const;
export type Board = keyof typeof BOARDS;

/** The tag by which the dashboards find one another. */
export const TAG = 'afflux';

/** Where a cell leads: another dashboard about that row, in the same range. `from` names the column with the id. */
export function drillDown(
  board: Board,
  options: { variable: string; from: string; keep?: readonly string[] },
): NonNullable<Column['link']> {
  const { variable, from, keep = [] } = options;
  const { uid, title } = BOARDS[board];
  const variables = [
    `var-${variable}=\${__data.fields["${from}"]}`,
    ...keep.map((name) => `\${${name}:queryparam}`),
  ];
  return {
    title: `${title}: this ${variable}`,
    url: `/d/${uid}?\${__url_time_range}&${variables.join('&')}`,
  };
}

/** The columns of a table about affiliates that lead on. */
export const AFFILIATE_COLUMNS: Columns = {
  Affiliate: {
    width: 220,
    link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
  },
  ID: { unit: 'none', decimals: 0, width: 70 },
};

/** At the top of every dashboard: the other ones, in the same range and with the same variables. */
export function siblings(): dashboard.DashboardLinkBuilder {
  return new dashboard.DashboardLinkBuilder('Afflux')
    .type(dashboard.DashboardLinkType.Dashboards)
    .icon('external link')
    .tooltip('Other dashboards, same range')
    .tags([TAG])
    .asDropdown(true)
    .targetBlank(false)
    .includeVars(true)
    .keepTime(true);
}
