import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import type { Columns, Link } from './panels.ts';

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
): Link {
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

/** The base URL of the portal's pages: `afflux grafana` writes what it is. */
const PORTAL = '$' + '{portal:raw}';
const encoded = (field: string): string => `\${__data.fields["${field}"]:percentencode}`;

/** Where the portal's explorer begins. */
export type ExplorerKey = 'ip' | 'subnet' | 'asn' | 'fingerprint' | 'affiliate' | 'link';

/** What a value is called in the title of a link. */
const KEY_NAMES: Readonly<Record<ExplorerKey, string>> = {
  ip: 'address',
  subnet: 'network',
  asn: 'autonomous system',
  fingerprint: 'fingerprint',
  affiliate: 'affiliate',
  link: 'link',
};

/** From a value to everything that is known of it. `from` names the column; ids get the prefix of their kind. */
export function explorer(key: ExplorerKey, { from, prefix = '' }: { from: string; prefix?: string }): Link {
  return {
    title: `Portal: explore this ${KEY_NAMES[key]}`,
    url: `${PORTAL}/explorer/${key}/${prefix}${encoded(from)}`,
  };
}

/** To a list of the portal; `search` names the column with what is looked for in it. */
export function portalPage(path: string, { title, search }: { title: string; search?: string }): Link {
  const query = search === undefined ? '' : `?search=${encoded(search)}`;
  return { title: `Portal: ${title}`, url: `${PORTAL}/${path}${query}` };
}

/** The columns of a table about affiliates that lead on. */
export const AFFILIATE_COLUMNS: Columns = {
  Affiliate: {
    width: 220,
    link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
  },
  ID: {
    unit: 'none',
    decimals: 0,
    width: 70,
    link: explorer('affiliate', { from: 'ID', prefix: 'aff_' }),
  },
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
