import { useState } from 'preact/hooks';
import { Link } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, type Schemas, take } from '../../../data/api.ts';
import { useAction } from '../../../data/use-data.ts';
import { useNames } from '../../../data/use-names.ts';
import { formatCount, formatMoney, words, ZONE_NAME } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';
import { Amount, Button, Card, Empty, Problem, When } from '../../../ui/basics.tsx';
import { Stat } from '../../../ui/stat.tsx';
import { Table } from '../../../ui/table.tsx';

export type Thresholds = Schemas['FraudRules'];
export type Preview = Schemas['FraudRulesPreview'];
type Changed = Preview['changed']['data'][number];

const PAGE_ROWS = 20;

export async function readPreview(id: string, fraud_rules: Thresholds, cursor?: string): Promise<Preview> {
  const query = { limit: PAGE_ROWS, ...(cursor !== undefined && { cursor }) };
  return await take(
    api.POST('/v1/programs/{id}/fraud-rules/preview', {
      params: { path: { id }, query },
      body: { fraud_rules },
    }),
  );
}

/** What the latest orders would have become with other thresholds. */
export function PreviewCard({ thresholds, preview }: { thresholds: Thresholds; preview: Preview }) {
  return (
    <Card
      title={t('fraudRules.before_and_after')}
      note={
        preview.is_cut
          ? t('fraudRules.of_the_latest_orders', { count: preview.orders })
          : t('fraudRules.of_all_orders', { count: preview.orders })
      }
    >
      <div class="stack">
        <dl class="stats">
          <Sum title={t('fraudRules.held_now')} of={preview.held_before} />
          <Sum title={t('fraudRules.held_then')} of={preview.held_after} />
          <Sum title={t('fraudRules.newly_held')} of={preview.newly_held} />
          <Sum title={t('fraudRules.no_longer_held')} of={preview.released} />
        </dl>
        <RuleCounts preview={preview} thresholds={thresholds} />
        <ChangedOrders key={JSON.stringify(thresholds)} first={preview.changed} thresholds={thresholds} />
      </div>
    </Card>
  );
}

function Sum({ title, of }: { title: string; of: Preview['held_after'] }) {
  return <Stat title={title} figure={formatCount(of.orders)} note={formatMoney(of.amount)} />;
}

/** The rules that were changed. */
function RuleCounts({ preview, thresholds }: { preview: Preview; thresholds: Thresholds }) {
  return (
    <Table
      label={t('fraudRules.by_rule')}
      rows={preview.rules.filter(({ name }) => name in thresholds)}
      rowKey={({ name }) => name}
      columns={[
        { title: t('evidence.rule'), head: true, cell: ({ name }) => words(name) },
        { title: t('fraudRules.fires_now'), numeric: true, cell: ({ before }) => formatCount(before) },
        { title: t('fraudRules.fires_then'), numeric: true, cell: ({ after }) => formatCount(after) },
        {
          title: t('fraudRules.not_observed'),
          numeric: true,
          cell: ({ unobserved }) => formatCount(unobserved),
        },
      ]}
    />
  );
}

const CHANGES = {
  held: t('fraudRules.newly_held'),
  released: t('fraudRules.no_longer_held'),
} as const satisfies Record<Changed['change'], string>;

function ChangedOrders({ first, thresholds }: { first: Preview['changed']; thresholds: Thresholds }) {
  const { program } = useSession();
  const names = useNames();
  const [{ data, next_cursor }, setPage] = useState(first);
  const more = useAction(async () => {
    const { changed } = await readPreview(program.id, thresholds, next_cursor ?? undefined);
    setPage({ ...changed, data: [...data, ...changed.data] });
  });
  if (data.length === 0) {
    return <Empty title={t('fraudRules.no_order_changes')}>{t('fraudRules.same_orders_are_held')}</Empty>;
  }
  return (
    <>
      <Table
        label={t('fraudRules.orders_that_change')}
        rows={data}
        rowKey={({ conversion_id }) => conversion_id}
        columns={[
          {
            title: t('common.order'),
            head: true,
            cell: ({ order_id, conversion_id }) => (
              <Link to={`/conversions?search=${conversion_id}`}>{order_id}</Link>
            ),
          },
          { title: t('fraudRules.change'), cell: ({ change }) => CHANGES[change] },
          {
            title: t('fraudRules.because_of'),
            cell: ({ rules }) =>
              rules.map(({ rule, observed }) => (
                <span key={rule} class="sub">
                  {t('fraudRules.rule_observed', { rule: words(rule), observed: observed ?? '–' })}
                </span>
              )),
          },
          {
            title: t('common.partner'),
            cell: ({ affiliate_id }) => (affiliate_id && names.get(affiliate_id)) ?? affiliate_id ?? '–',
          },
          { title: t('common.order_value'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
          {
            title: t('fraudRules.received_zone', { zone: ZONE_NAME }),
            cell: ({ received_at }) => <When at={received_at} />,
          },
        ]}
      />
      <Problem error={more.error} />
      {next_cursor !== null && (
        <div class="more">
          <Button onClick={() => void more.run()} busy={more.busy}>
            {t('common.show_more')}
          </Button>
        </div>
      )}
    </>
  );
}
