import { Link, useParameter } from '../app/router.tsx';
import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { lastDays, PERIODS, secondsOfDay } from '../data/period.ts';
import { readTrend, type Trend } from '../data/report.ts';
import { useData } from '../data/use-data.ts';
import { formatCompact, formatMinor, formatShare, isZero, ZONE_NAME } from '../text/format.ts';
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
    { everyMs: EVERY_MS },
  );
  return (
    <Page
      title={`Hello, ${user.name}`}
      lead={<CompleteTo />}
      actions={<Segments label="Period" value={days} onChange={setDays} choices={PERIODS} />}
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
      <Empty title="No clicks in this period">
        Create a <Link to="/links">tracking link</Link> and share it. Clicks appear here within two seconds.
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
        title="Clicks"
        figure={formatCompact(trend.total('clicks'))}
        now={trend.total('clicks')}
        before={trend.before('clicks')}
        course={trend.course('clicks')}
      />
      <Stat
        title="Credited conversions"
        figure={formatCompact(orders)}
        now={orders}
        before={trend.before('conversions_attributed')}
        course={trend.course('conversions_attributed')}
      />
      <Stat
        title="Earned"
        figure={formatMinor(earnings.totalMinor, currency)}
        now={earnings.totalMinor}
        before={earnings.beforeMinor}
        course={earnings.byDay(trend.days)}
      />
      <Stat
        title="Per 100 valid clicks"
        figure={epc === undefined ? '–' : formatMinor(epc * 100, currency)}
        note={`earned by your own visitors; conversion rate ${formatShare(trend.ratio('conversion_rate'))}`}
      />
    </dl>
  );
}

function Course({ trend, earnings }: { trend: Trend; earnings: Earnings }) {
  const { theme } = usePartner();
  return (
    <Card title="Clicks and earnings" note={`By day, ${ZONE_NAME}`}>
      <TimeChart
        label="Clicks and earnings by day"
        theme={theme}
        times={trend.days.map(secondsOfDay)}
        series={[
          {
            label: 'Earned',
            color: '--chart-2',
            side: 'right',
            bars: true,
            values: earnings.byDay(trend.days),
            format: (minor) => formatMinor(minor, earnings.currency),
          },
          { label: 'Clicks', color: '--chart-1', values: trend.course('clicks'), format: formatCompact },
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
  { key: 'pending', title: 'Pending', note: 'in the hold for refunds' },
  { key: 'available', title: 'Available', note: 'next payout' },
  { key: 'in_transit', title: 'In transit', note: 'submitted to the provider' },
  { key: 'paid', title: 'Paid', note: 'in total' },
  { key: 'debt', title: 'Debt', note: 'refunds after payment, deducted from the next payout' },
  { key: 'adjustments', title: 'Bonuses, deductions', note: 'without an order, part of the next payout' },
];

/** Shown where there is any. */
const SELDOM: ReadonlySet<string> = new Set(['debt', 'adjustments']);

function BalanceCard({ balance }: { balance: Schemas['Balance'] }) {
  return (
    <Card title="Balance" actions={<Link to="/payouts">Statement</Link>}>
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
    <Card title="Latest conversions" actions={<Link to="/conversions">All conversions</Link>}>
      {conversions.length === 0 ? (
        <Empty title="No conversions yet">
          A conversion appears when the shop reports an order of your visitor.
        </Empty>
      ) : (
        <Table
          label="Latest conversions"
          rows={conversions}
          rowKey={({ id }) => id}
          columns={[
            {
              title: 'Order',
              head: true,
              cell: (conversion) => (
                <>
                  {conversion.order_id}
                  <span class="sub">{whyText(conversion)}</span>
                </>
              ),
            },
            { title: `Ordered (${ZONE_NAME})`, cell: ({ occurred_at }) => <When at={occurred_at} /> },
            { title: 'Status', cell: ({ state }) => <Status of={state} /> },
            { title: 'Order value', numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
            {
              title: 'Your commission',
              numeric: true,
              cell: ({ own_commission }) => own_commission && <Amount money={own_commission} strong />,
            },
          ]}
        />
      )}
    </Card>
  );
}
