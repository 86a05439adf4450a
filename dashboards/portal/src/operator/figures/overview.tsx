import { Link, useParameter } from '../../app/router.tsx';
import { mayRead, useSession } from '../../app/session.tsx';
import { api, take } from '../../data/api.ts';
import { lastDays, PERIODS, secondsOfDay } from '../../data/period.ts';
import { readTrend, type Trend } from '../../data/report.ts';
import { useData } from '../../data/use-data.ts';
import { formatCompact, formatMinor, formatShare, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Card, Loading, Page, Problem } from '../../ui/basics.tsx';
import { TimeChart } from '../../ui/charts.tsx';
import { Segments } from '../../ui/forms.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { Stat } from '../../ui/stat.tsx';
import { SetupList } from '../setup/setup-list.tsx';

const EVERY_MS = 5_000;
const METRICS = [
  'clicks',
  'valid_clicks',
  'conversions_attributed',
  'conversion_rate',
  'revenue_minor',
  'commission_minor',
];
/** Larger counts are shown as "100+". */
const MOST_WAITING = 100;
const NOTHING = { data: [] };

export function OverviewPage() {
  const { program, user } = useSession();
  const [days, setDays] = useParameter('days', '30');
  const { data, error, reload } = useData(
    async (signal) => {
      const program_id = program.id;
      const query = { program_id, limit: MOST_WAITING };
      const range = lastDays(Number(days));
      const [trend, setup, reviews, pending, unknown, applications, questions] = await Promise.all([
        readTrend({ range, metrics: METRICS, program: program_id }, signal),
        user.role === 'operator'
          ? take(api.GET('/v1/programs/{id}/setup', { params: { path: { id: program_id } }, signal }))
          : undefined,
        take(api.GET('/v1/conversions', { params: { query: { ...query, state: 'review' } }, signal })),
        mayRead('affiliates', user.role)
          ? take(api.GET('/v1/affiliates', { params: { query: { ...query, status: 'pending' } }, signal }))
          : NOTHING,
        mayRead('payouts', user.role)
          ? take(api.GET('/v1/payouts', { params: { query: { ...query, state: 'unknown' } }, signal }))
          : NOTHING,
        mayRead('applications', user.role)
          ? take(api.GET('/v1/applications', { params: { query: { ...query, state: 'pending' } }, signal }))
          : NOTHING,
        mayRead('questions', user.role)
          ? take(api.GET('/v1/order-questions', { params: { query }, signal }))
          : NOTHING,
      ]);
      return {
        trend,
        setup,
        reviews: reviews.data.length,
        pending: pending.data.length,
        unknown: unknown.data.length,
        applications: applications.data.length,
        questions: questions.data.length,
      };
    },
    [program.id, days],
    { everyMs: EVERY_MS, page: 'overview' },
  );
  return (
    <Page
      title={program.name}
      lead={<CompleteTo at={data?.trend.report.complete_to} />}
      actions={<Segments label={t('common.period')} value={days} onChange={setDays} choices={PERIODS} />}
    >
      <Problem error={error} onRetry={reload} />
      {data ? (
        <>
          {data.setup?.complete === false && <SetupList setup={data.setup} />}
          <Waiting {...data} isSetUp={data.setup?.complete !== false} />
          <Figures trend={data.trend} />
          <Course trend={data.trend} />
        </>
      ) : (
        error === undefined && <Loading />
      )}
    </Page>
  );
}

/** Open tasks of the operator; that there are none is said of a program that is set up. */
function Waiting(props: {
  reviews: number;
  pending: number;
  unknown: number;
  applications: number;
  questions: number;
  isSetUp: boolean;
}) {
  const parts = (
    [
      { count: props.reviews, to: '/reviews', text: 'overview.conversions_to_review' },
      { count: props.applications, to: '/applications', text: 'overview.applications_to_decide' },
      { count: props.pending, to: '/affiliates?status=pending', text: 'overview.partners_to_approve' },
      { count: props.questions, to: '/questions', text: 'overview.questions_to_answer' },
      { count: props.unknown, to: '/payouts?state=unknown', text: 'overview.payouts_of_unknown_outcome' },
    ] as const
  ).filter(({ count }) => count > 0);
  if (parts.length === 0 && !props.isSetUp) return null;
  if (parts.length === 0) return <p class="notice good">{t('overview.no_open_tasks')}</p>;
  return (
    <div class="notice warn">
      <span>
        <strong>{t('overview.open_tasks')}</strong>{' '}
        {parts.map(({ count, to, text }, i) => (
          <>
            {i > 0 && ', '}
            <Link key={to} to={to}>
              {t(text, { count, shown: count >= MOST_WAITING ? `${MOST_WAITING}+` : count })}
            </Link>
          </>
        ))}
        .
      </span>
    </div>
  );
}

function Figures({ trend }: { trend: Trend }) {
  const { program } = useSession();
  const orders = trend.total('conversions_attributed');
  const valid = trend.total('valid_clicks');
  const stat = (metric: string) => ({
    now: trend.total(metric),
    before: trend.before(metric),
    course: trend.course(metric),
  });
  return (
    <dl class="stats">
      <Stat
        title={t('common.clicks')}
        figure={formatCompact(trend.total('clicks'))}
        {...stat('clicks')}
        note={t('overview.share_valid', {
          share: formatShare(trend.total('clicks') === 0 ? undefined : valid / trend.total('clicks')),
        })}
      />
      <Stat
        title={t('common.credited_conversions')}
        figure={formatCompact(orders)}
        {...stat('conversions_attributed')}
        note={t('overview.share_of_valid_clicks', { share: formatShare(trend.ratio('conversion_rate')) })}
      />
      <Stat
        title={t('common.order_value')}
        figure={formatMinor(trend.total('revenue_minor'), program.currency)}
        {...stat('revenue_minor')}
        note={t('overview.credited_minus_refunds')}
      />
      <Stat
        title={t('common.commissions')}
        figure={formatMinor(trend.total('commission_minor'), program.currency)}
        {...stat('commission_minor')}
        note={t('overview.earned_at_all_levels')}
      />
    </dl>
  );
}

function Course({ trend }: { trend: Trend }) {
  const { program, theme } = useSession();
  return (
    <Card title={t('overview.clicks_and_order_value')} note={t('common.by_day_zone', { zone: ZONE_NAME })}>
      <TimeChart
        label={t('overview.clicks_and_order_value_by')}
        theme={theme}
        times={trend.days.map(secondsOfDay)}
        series={[
          {
            label: t('common.order_value'),
            color: '--chart-2',
            side: 'right',
            bars: true,
            values: trend.course('revenue_minor'),
            format: (minor) => formatMinor(minor, program.currency),
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
