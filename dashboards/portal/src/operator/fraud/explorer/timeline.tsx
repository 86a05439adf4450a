import { useParameter } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, take } from '../../../data/api.ts';
import { useData } from '../../../data/use-data.ts';
import { formatCount, TIME_ZONE } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';
import { Card, Loading, Problem } from '../../../ui/basics.tsx';
import { TimeChart } from '../../../ui/charts.tsx';
import type { ExplorerKey } from '../../../ui/explored.tsx';
import { Segments } from '../../../ui/forms.tsx';
import { CompleteTo, OrdersTo } from '../../../ui/freshness.tsx';

/** When clicks and orders were in the counted days, with the hours of the reader's clock. */
export function Timeline({ of, value, days }: { of: ExplorerKey; value: string; days: number }) {
  const { theme } = useSession();
  const [step, setStep] = useParameter('step', 'hour');
  const { data, error, reload } = useData(
    async (signal) => {
      const query = {
        step: step === 'minute' ? ('minute' as const) : ('hour' as const),
        time_zone: TIME_ZONE,
      };
      const params = { path: { key: of, value }, query };
      return await take(api.GET('/v1/explorer/{key}/{value}/timeline', { params, signal }));
    },
    [of, value, step],
  );
  const steps = [
    { value: 'hour', text: t('explorer.days_by_hour', { count: days }) },
    { value: 'minute', text: t('explorer.last_day_by_minute') },
  ] as const;
  return (
    <Card
      title={t('explorer.timeline')}
      note={
        <>
          <CompleteTo at={data?.complete_to} /> <OrdersTo at={data?.orders_complete_to} />
        </>
      }
      actions={<Segments label={t('explorer.timeline')} value={step} onChange={setStep} choices={steps} />}
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <TimeChart
          label={t('explorer.clicks_and_orders_over_time')}
          theme={theme}
          clock
          times={data.data.map(({ at }) => Date.parse(at) / 1_000)}
          series={[
            {
              label: t('common.clicks'),
              color: '--chart-1',
              values: data.data.map(({ clicks }) => clicks),
              format: formatCount,
            },
            {
              label: t('common.orders'),
              color: '--chart-2',
              side: 'right',
              values: data.data.map(({ orders }) => orders),
              format: formatCount,
            },
          ]}
        />
      )}
    </Card>
  );
}
