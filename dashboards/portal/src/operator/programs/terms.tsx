import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeAll } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { formatBps, formatMoney, originText, words, ZONE_NAME } from '../../text/format.ts';
import { listed, t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { isFiltered, ListTools, namesOf } from '../../ui/list-tools.tsx';
import { Status } from '../../ui/status.tsx';
import { Table } from '../../ui/table.tsx';
import { NewTerms } from './new-terms.tsx';
import { customerRatesText } from './special-rates.tsx';

type Terms = Schemas['Terms'];

/** Item rates in a cell of the table; the API has all. */
const SHOWN_ITEM_RATES = 5;
const FILTERS = ['affiliate_id', 'campaign_id'];

/** Terms by scope with all versions; a commission keeps the version it was computed with. */
export function TermsPage() {
  const { program, user } = useSession();
  const [isMaking, setMaking] = useState(false);
  const { data, error, reload } = useData(
    async (signal) => {
      const program_id = program.id;
      const page = (cursor: string | undefined) => ({
        params: { query: { program_id, cursor, limit: 500 } },
        signal,
      });
      const [terms, campaigns, affiliates] = await Promise.all([
        take(api.GET('/v1/terms', { params: { query: { program_id } }, signal })),
        takeAll((cursor) => api.GET('/v1/campaigns', page(cursor))),
        takeAll((cursor) => api.GET('/v1/affiliates', page(cursor))),
      ]);
      return { terms: terms.data, campaigns, affiliates };
    },
    [program.id],
  );
  const names = new Map(
    [...(data?.campaigns ?? []), ...(data?.affiliates ?? [])].map(({ id, name }) => [id, name]),
  );
  const list = useList((query, signal) => api.GET('/v1/terms', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: FILTERS,
    whole: true,
  });
  const withdraw = useAction(async (id: string) => {
    await take(api.DELETE('/v1/terms/{id}', { params: { path: { id } } }));
    reload();
    list.reload();
  });
  const scopes = groupByScope(list.rows ?? []);
  return (
    <Page
      title={t('common.terms')}
      lead={t('terms.terms_for_one_event_come')}
      actions={
        user.role === 'operator' && (
          <Button kind="primary" onClick={() => setMaking(true)}>
            {t('common.new_terms')}
          </Button>
        )
      }
    >
      <Problem error={error} onRetry={reload} />
      <Problem error={withdraw.error} />
      <ListTools
        list={list}
        label={t('common.terms')}
        columns={[]}
        tools={{
          search: t('list.partner_or_campaign'),
          filters: [
            { name: 'affiliate_id', label: t('common.partner'), choices: namesOf(data?.affiliates) },
            { name: 'campaign_id', label: t('common.campaign'), choices: namesOf(data?.campaigns) },
          ],
          file: '/v1/terms.csv',
        }}
      />
      <Problem error={list.error} onRetry={list.reload} />
      {(!data || !list.rows) && error === undefined && list.error === undefined && <Loading />}
      {list.rows?.length === 0 && isFiltered(list) && (
        <Card>
          <Empty title={t('list.nothing_found')} />
        </Card>
      )}
      {list.rows?.length === 0 && !isFiltered(list) && (
        <Card>
          <Empty title={t('terms.no_terms_yet')}>{t('terms.without_terms_no_order_earns')}</Empty>
        </Card>
      )}
      {scopes.map((versions) => (
        <Scope
          key={scopeKey(versions[0])}
          versions={versions}
          names={names}
          onWithdraw={user.role === 'operator' ? (id) => void withdraw.run(id) : undefined}
        />
      ))}
      {isMaking && data && (
        <NewTerms
          terms={data.terms}
          campaigns={data.campaigns}
          affiliates={data.affiliates}
          onClose={() => setMaking(false)}
          onMade={() => {
            setMaking(false);
            reload();
            list.reload();
          }}
        />
      )}
    </Page>
  );
}

function scopeKey(terms: Terms | undefined): string {
  return `${terms?.campaign_id ?? ''} ${terms?.affiliate_id ?? ''} ${terms?.event_name ?? ''}`;
}

/** The program's first; each with the newest version first, as the API lists them. */
function groupByScope(all: readonly Terms[]): Terms[][] {
  const groups = new Map<string, Terms[]>();
  for (const terms of all) {
    const group = groups.get(scopeKey(terms));
    if (group) group.push(terms);
    else groups.set(scopeKey(terms), [terms]);
  }
  return [...groups.values()].toSorted((a, b) => scopeKey(a[0]).localeCompare(scopeKey(b[0])));
}

function Scope({
  versions,
  names,
  onWithdraw,
}: {
  versions: readonly Terms[];
  names: ReadonlyMap<string, string>;
  onWithdraw: ((id: string) => void) | undefined;
}) {
  const [first] = versions;
  if (!first) return null;
  const parts = [first.affiliate_id, first.campaign_id].flatMap((id) =>
    id === null ? [] : [names.get(id) ?? id],
  );
  const [narrow, wide] = parts;
  const scope =
    narrow === undefined
      ? t('common.program')
      : wide === undefined
        ? narrow
        : t('terms.scope_within', { partner: narrow, campaign: wide });
  const title =
    first.event_name === null
      ? scope
      : t('terms.scope_of_event', { scope, event: words(first.event_name).toLowerCase() });
  return (
    <Card title={title}>
      <Table
        label={t('terms.terms_of_title', { title })}
        rows={versions}
        rowKey={({ id }) => id}
        columns={[
          { title: t('terms.version'), head: true, cell: ({ id }) => id },
          { title: t('common.valid'), cell: (terms) => <InForce terms={terms} onWithdraw={onWithdraw} /> },
          { title: t('terms.pays'), cell: (terms) => <Pays terms={terms} /> },
          {
            title: t('terms.level_2_and_above'),
            cell: ({ level_rates_bps }) => level_rates_bps.map(formatBps).join(', ') || '–',
          },
          {
            title: t('terms.hold'),
            numeric: true,
            cell: ({ hold_days }) => t('common.days', { count: hold_days }),
          },
          {
            title: t('terms.window'),
            cell: ({ cookie_days, attribution_model }) =>
              t('terms.days_and_model', {
                count: cookie_days,
                model: words(attribution_model).toLowerCase(),
              }),
          },
          {
            title: t('common.paid'),
            // Payouts are of all events together.
            cell: ({ event_name, payout_min, payout_schedule }) =>
              event_name === null
                ? t('terms.paid_from', {
                    schedule: words(payout_schedule).toLowerCase(),
                    minimum: formatMoney(payout_min),
                  })
                : '–',
          },
          { title: t('terms.not_named_here'), cell: (terms) => <Origins terms={terms} /> },
        ]}
      />
    </Card>
  );
}

function InForce({
  terms: { id, valid_from, valid_to },
  onWithdraw,
}: {
  terms: Terms;
  onWithdraw: ((id: string) => void) | undefined;
}) {
  const now = Date.now();
  const isOver = valid_to !== null && Date.parse(valid_to) <= now;
  const isToCome = valid_from !== null && Date.parse(valid_from) > now;
  return (
    <>
      <Status
        of={isOver ? 'ended' : isToCome ? 'pending' : 'active'}
        text={isOver ? t('terms.past') : isToCome ? t('terms.future') : t('terms.now')}
      />
      <span class="sub">
        <When at={valid_from} none={t('terms.the_beginning')} /> –{' '}
        <When at={valid_to} none={t('common.no_limit')} /> {ZONE_NAME}
      </span>
      {isToCome && onWithdraw && (
        <Button label={t('terms.withdraw_id', { id })} onClick={() => onWithdraw(id)}>
          {t('common.withdraw')}
        </Button>
      )}
    </>
  );
}

/** Where the name in the API is not a word of its own. */
const FIELD_TEXTS: Readonly<Record<string, string>> = {
  rate_bps: t('terms.share'),
  fixed: t('terms.fixed_amount'),
  level_rates_bps: t('terms.level_2_within'),
  cookie_days: t('terms.attribution_window'),
  payout_min: t('terms.minimum_payout'),
};

/** Values that these terms do not name, by where they come from. */
function Origins({ terms: { origins } }: { terms: Terms }) {
  const sources = new Map<string, string[]>();
  for (const [field, origin] of Object.entries(origins)) {
    if (origin === 'named') continue;
    sources.set(origin, [...(sources.get(origin) ?? []), FIELD_TEXTS[field] ?? words(field).toLowerCase()]);
  }
  if (sources.size === 0) return <>–</>;
  return (
    <>
      {[...sources].map(([origin, fields]) => (
        <span class="sub" key={origin}>
          {`${originText(origin)}: ${fields.join(', ')}`}
        </span>
      ))}
    </>
  );
}

/** By who bought, and by what was bought. */
function SpecialRates({ terms: { customer_rates, item_rates } }: { terms: Terms }) {
  const customers = customerRatesText(customer_rates);
  const items = item_rates.map(({ sku, brand, category, rate_bps }) => {
    const mark = sku ?? brand ?? category ?? '';
    return rate_bps === 0
      ? t('terms.excluded', { item: mark })
      : t('common.rate_for', { rate: formatBps(rate_bps), item: mark });
  });
  const shown =
    items.length > SHOWN_ITEM_RATES
      ? [...items.slice(0, SHOWN_ITEM_RATES), t('terms.and_more', { count: items.length - SHOWN_ITEM_RATES })]
      : items;
  return (
    <>
      {customers !== '' && <span class="sub">{customers}</span>}
      {shown.length > 0 && <span class="sub">{shown.join(', ')}</span>}
    </>
  );
}

function Pays({ terms }: { terms: Terms }) {
  const { commission_type, rate_bps, fixed, tiers, tier_mode, recurring_months } = terms;
  const parts = [
    ...(commission_type === 'fixed' ? [] : [formatBps(rate_bps)]),
    ...(commission_type === 'percent' ? [] : [formatMoney(fixed)]),
  ];
  return (
    <>
      {listed(parts)}
      {tiers.length > 0 && (
        <span class="sub">
          {tiers
            .map(({ from, rate_bps: rate }) =>
              t('common.rate_from', { rate: formatBps(rate), amount: formatMoney(from) }),
            )
            .join(', ')}{' '}
          ({words(tier_mode).toLowerCase()})
        </span>
      )}
      <SpecialRates terms={terms} />
      {recurring_months > 0 && <span class="sub">{t('terms.for_months', { count: recurring_months })}</span>}
    </>
  );
}
