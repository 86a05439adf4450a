import { Link, useParameter } from '../app/router.tsx';
import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { lastDays, PERIODS, secondsOfDay } from '../data/period.ts';
import { readTrend, type Trend } from '../data/report.ts';
import { useData } from '../data/use-data.ts';
import { formatCompact, formatMinor, formatShare, isZero, ZONE_NAME } from '../text/format.ts';
import { rich, t } from '../text/t.ts';
import { whyText } from '../text/why.ts';
import { Amount, Card, Empty, Loading, Page, Problem, When } from '../ui/basics.tsx';
import { TimeChart } from '../ui/charts.tsx';
import { Segments } from '../ui/forms.tsx';
import { CompleteTo } from '../ui/freshness.tsx';
import { Stat } from '../ui/stat.tsx';
import { Status } from '../ui/status.tsx';
import { Table } from '../ui/table.tsx';
import { type Earnings, readEarnings } from './earnings.ts';
import { Standing } from './standing.tsx';
import { UpcomingCard } from './upcoming.tsx';

const EVERY_MS = 5_000;
const METRICS = ['clicks', 'valid_clicks', 'conversions_attributed', 'conversion_rate', 'own_epc_minor'];

export function OverviewPage() {
  const { affiliateId, program, user } = usePartner();
  const [days, setDays] = useParameter('days', '30');
  const { data, error, reload } = useData(
    async (signal) => {
      const range = lastDays(Number(days));
      const path = { params: { path: { id: affiliateId } }, signal };
      const [trend, earnings, balance, upcoming, conversions] = await Promise.all([
        readTrend({ range, metrics: METRICS, program: program.id }, signal),
        readEarnings({ affiliateId, range }, signal),
        take(api.GET('/v1/affiliates/{id}/balance', path)),
        take(api.GET('/v1/affiliates/{id}/upcoming-payout', path)),
        take(api.GET('/v1/conversions', { params: { query: { limit: 6 } }, signal })),
      ]);
      return { trend, earnings, balance, upcoming, conversions: conversions.data };
    },
    [affiliateId, days],
    { everyMs: EVERY_MS, page: 'overview' },
  );
  return (
    <Page
      title={t('partnerOverview.hello_user', { user: user.name })}
      lead={<CompleteTo at={data?.trend.report.complete_to} />}
      actions={<Segments label={t('common.period')} value={days} onChange={setDays} choices={PERIODS} />}
    >
      <Standing />
      <Problem error={error} onRetry={reload} />
      {data ? <Overview {...data} /> : error === undefined && <Loading />}
    </Page>
  );
}

function Overview(props: {
  trend: Trend;
  earnings: Earnings;
  balance: Schemas['Balance'];
  upcoming: Schemas['UpcomingPayout'];
  conversions: readonly Schemas['ListedConversion'][];
}) {
  const { trend, earnings, balance, upcoming, conversions } = props;
  if (trend.total('clicks') === 0 && conversions.length === 0) return <FirstSteps />;
  return (
    <>
      <Figures trend={trend} earnings={earnings} />
      <div class="grid wide-left">
        <Course trend={trend} earnings={earnings} />
        <div class="stack">
          <BalanceCard balance={balance} />
          <UpcomingCard upcoming={upcoming} />
        </div>
      </div>
      <LatestConversions conversions={conversions} />
    </>
  );
}

function FirstSteps() {
  return (
    <Card>
      <Empty title={t('partnerOverview.no_clicks_in_this_period')}>
        {rich('partnerOverview.create_a_tracking_link_and', {
          link: (text) => <Link to="/links">{text}</Link>,
        })}
      </Empty>
    </Card>
  );
}

function Figures({ trend, earnings }: { trend: Trend; earnings: Earnings }) {
  const { currency } = earnings;
  const orders = trend.total('conversions_attributed');
  const epc = trend.ratio('own_epc_minor');
  return (
    <dl class="stats">
      <Stat
        title={t('common.clicks')}
        figure={formatCompact(trend.total('clicks'))}
        now={trend.total('clicks')}
        before={trend.before('clicks')}
        course={trend.course('clicks')}
      />
      <Stat
        title={t('common.credited_conversions')}
        figure={formatCompact(orders)}
        now={orders}
        before={trend.before('conversions_attributed')}
        course={trend.course('conversions_attributed')}
      />
      <Stat
        title={t('common.earned')}
        figure={formatMinor(earnings.totalMinor, currency)}
        now={earnings.totalMinor}
        before={earnings.beforeMinor}
        course={earnings.byDay(trend.days)}
      />
      <Stat
        title={t('partnerOverview.per_100_valid_clicks')}
        figure={epc === undefined ? '–' : formatMinor(epc * 100, currency)}
        note={t('partnerOverview.per_click_note', { rate: formatShare(trend.ratio('conversion_rate')) })}
      />
    </dl>
  );
}

function Course({ trend, earnings }: { trend: Trend; earnings: Earnings }) {
  const { theme } = usePartner();
  return (
    <Card
      title={t('partnerOverview.clicks_and_earnings')}
      note={t('common.by_day_zone', { zone: ZONE_NAME })}
    >
      <TimeChart
        label={t('partnerOverview.clicks_and_earnings_by_day')}
        theme={theme}
        times={trend.days.map(secondsOfDay)}
        series={[
          {
            label: t('common.earned'),
            color: '--chart-2',
            side: 'right',
            bars: true,
            values: earnings.byDay(trend.days),
            format: (minor) => formatMinor(minor, earnings.currency),
          },
          {
            label: t('common.clicks'),
            color: '--chart-1',
            values: trend.course('clicks'),
            format: formatCompact,
          },
        ]}
      />
    </Card>
  );
}

const STATES: readonly {
  key: Exclude<keyof Schemas['Balance'], 'affiliate_id'>;
  title: string;
  note: string;
}[] = [
  { key: 'pending', title: t('common.pending'), note: t('partnerOverview.in_the_hold_for_refunds') },
  { key: 'available', title: t('common.available'), note: t('partnerOverview.next_payout') },
  { key: 'in_transit', title: t('common.in_transit'), note: t('partnerOverview.submitted_to_the_provider') },
  { key: 'paid', title: t('common.paid'), note: t('partnerOverview.in_total') },
  { key: 'debt', title: t('common.debt'), note: t('partnerOverview.refunds_after_payment_deducted_from') },
  {
    key: 'adjustments',
    title: t('common.bonuses_deductions'),
    note: t('partnerOverview.without_an_order_part_of'),
  },
];

/** Shown where there is any. */
const SELDOM: ReadonlySet<string> = new Set(['debt', 'adjustments']);

function BalanceCard({ balance }: { balance: Schemas['Balance'] }) {
  return (
    <Card title={t('partnerOverview.balance')} actions={<Link to="/payouts">{t('common.statement')}</Link>}>
      <dl class="balance">
        {STATES.filter(({ key }) => !SELDOM.has(key) || !isZero(balance[key])).map(({ key, title, note }) => (
          <div key={key}>
            <dt>
              {title}
              <span>{note}</span>
            </dt>
            <dd>
              <Amount money={balance[key]} />
            </dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}

function LatestConversions({ conversions }: { conversions: readonly Schemas['ListedConversion'][] }) {
  return (
    <Card
      title={t('partnerOverview.latest_conversions')}
      actions={<Link to="/conversions">{t('partnerOverview.all_conversions')}</Link>}
    >
      {conversions.length === 0 ? (
        <Empty title={t('common.no_conversions_yet')}>
          {t('partnerOverview.a_conversion_appears_when_the')}
        </Empty>
      ) : (
        <Table
          label={t('partnerOverview.latest_conversions')}
          rows={conversions}
          rowKey={({ id }) => id}
          columns={[
            {
              title: t('common.order'),
              head: true,
              cell: (conversion) => (
                <>
                  {conversion.order_id}
                  <span class="sub">{whyText(conversion)}</span>
                </>
              ),
            },
            {
              title: t('common.ordered_zone', { zone: ZONE_NAME }),
              cell: ({ occurred_at }) => <When at={occurred_at} />,
            },
            { title: t('common.status'), cell: ({ state }) => <Status of={state} /> },
            {
              title: t('common.order_value'),
              numeric: true,
              cell: ({ amount }) => <Amount money={amount} />,
            },
            {
              title: t('common.your_commission'),
              numeric: true,
              cell: ({ own_commission }) => own_commission && <Amount money={own_commission} strong />,
            },
          ]}
        />
      )}
    </Card>
  );
}
