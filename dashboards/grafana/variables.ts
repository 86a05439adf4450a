import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { CLICKHOUSE } from './data-source-ids.ts';
import { ALL_IN_LEDGER, chosen, type Filter } from './sql.ts';

/** The variables at the top. A list of choices is a query: its first column is the value, its second the text. */

/** Affiliates beyond these are found by writing their id. */
const MAX_CHOICES = 5_000;

const named = (kind: 'program' | 'campaign' | 'affiliate'): string => `
SELECT toString(id) AS value, concat(name, ' (', toString(id), ')') AS text
FROM names FINAL
WHERE kind = '${kind}'${kind === 'program' ? '' : ` AND ${chosen('program')}`}
ORDER BY text LIMIT ${MAX_CHOICES}`;

/** What was seen within a month; clicks whose country is unknown have none to choose. */
const seen = (column: 'country' | 'device'): string => `
SELECT toString(${column}) AS value, value AS text
FROM clicks_hourly
WHERE hour >= now() - INTERVAL 31 DAY AND value != ''
GROUP BY value ORDER BY value LIMIT ${MAX_CHOICES}`;

const CHOICES: Readonly<Record<Filter, { label: string; description: string; sql: string }>> = {
  program: { label: 'Program', description: 'One shop’s affiliate program', sql: named('program') },
  campaign: { label: 'Campaign', description: 'Campaign of a program', sql: named('campaign') },
  affiliate: {
    label: 'Affiliate',
    description: `Affiliate; the first ${MAX_CHOICES} by name, others by typing their id`,
    sql: named('affiliate'),
  },
  country: { label: 'Country', description: 'Country of the visitor’s address', sql: seen('country') },
  device: { label: 'Device', description: 'Device in the User-Agent', sql: seen('device') },
};

/** A filter with All; `one`: exactly one of the choices, the first to begin with. */
export function variable(filter: Filter, options: { one?: boolean } = {}): dashboard.QueryVariableBuilder {
  const { label, description, sql } = CHOICES[filter];
  const built = new dashboard.QueryVariableBuilder(filter)
    .label(label)
    .description(description)
    .datasource(CLICKHOUSE)
    .query({ refId: filter, queryType: 'sql', editorType: 'sql', rawSql: sql.trim() })
    .definition(sql.trim())
    .refresh(dashboard.VariableRefresh.OnDashboardLoad)
    .sort(dashboard.VariableSort.Disabled)
    .allowCustomValue(true)
    .multi(!options.one)
    .includeAll(!options.one);
  return options.one ? built : built.current({ text: 'All', value: '$__all' }).allValue(ALL_IN_LEDGER);
}

/** Columns that clicks_hourly and conversions share: a filter by hand holds in both. */
const AD_HOC_CHOICES = `
SELECT country, toString(link_id) AS link_id, toString(campaign_id) AS campaign_id, toString(affiliate_id) AS affiliate_id
FROM clicks_hourly WHERE hour >= now() - INTERVAL 7 DAY
GROUP BY ALL LIMIT 10000`;

/** Filters that people add by hand, and the query that says by what: the plugin looks for it under its name. */
export function adHocVariables(): cog.Builder<dashboard.VariableModel>[] {
  const filters = new dashboard.AdHocVariableBuilder('filters')
    .label('Filter')
    .description('By link, campaign, affiliate or country, in every panel of clicks and conversions')
    .datasource(CLICKHOUSE);
  const choices = new dashboard.ConstantVariableBuilder('clickhouse_adhoc_query').value(
    AD_HOC_CHOICES.trim(),
  );
  return [filters, { build: () => ({ ...choices.build(), hide: dashboard.VariableHide.HideVariable }) }];
}

/** The base URL of the portal's pages, as a platform has it that is not configured; `afflux grafana` writes the real one. */
export function portalVariable(): cog.Builder<dashboard.VariableModel> {
  const constant = new dashboard.ConstantVariableBuilder('portal').value('http://localhost:8081/portal');
  return { build: () => ({ ...constant.build(), hide: dashboard.VariableHide.HideVariable }) };
}
