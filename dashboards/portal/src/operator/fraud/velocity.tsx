import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { api, take } from '../../data/api.ts';
import { readCompleteTo } from '../../data/report.ts';
import { useData } from '../../data/use-data.ts';
import { formatCount, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Bar } from '../../ui/charts.tsx';
import { Dialog, Segments, Select } from '../../ui/forms.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { NumberField } from '../../ui/number-field.tsx';
import { Table } from '../../ui/table.tsx';
import { SharedAddresses } from './shared-addresses.tsx';

const KEYS = [
  { value: 'ip', text: t('common.address') },
  { value: 'subnet', text: t('velocity.network') },
  { value: 'fingerprint', text: t('velocity.browser') },
] as const;
type Key = (typeof KEYS)[number]['value'];
const WINDOWS = [
  { value: '5', text: t('velocity.5_minutes') },
  { value: '60', text: t('velocity.1_hour') },
  { value: '1440', text: t('velocity.24_hours') },
] as const;
const EVERY_MS = 5_000;
const MOST = 20;

/** The highest click rates by address, network and browser. */
export function VelocityPage() {
  const [key, setKey] = useParameter('key', 'ip');
  const [minutes, setMinutes] = useParameter('minutes', '1440');
  const [clicks, setClicks] = useParameter('clicks', '2');
  const [shown, setShown] = useState<string>();
  const threshold = /^\d{1,9}$/.test(clicks) ? Number(clicks) : 0;
  const { data, error, reload } = useData(
    async (signal) => {
      const query = { key: key as Key, minutes: Number(minutes), clicks: threshold, limit: MOST };
      const completeTo = await readCompleteTo(signal);
      const { data: rows } = await take(api.GET('/v1/velocity', { params: { query }, signal }));
      return { rows, completeTo };
    },
    [key, minutes, threshold],
    { everyMs: EVERY_MS, page: 'velocity' },
  );
  const most = Math.max(1, ...(data?.rows ?? []).map((row) => row.clicks));
  return (
    <Page
      title={t('common.velocity')}
      lead={
        <>
          {t('velocity.addresses_are_of_all_programs')} <CompleteTo at={data?.completeTo} />
        </>
      }
    >
      <Card>
        <div class="filters">
          <Segments label={t('common.by')} value={key} onChange={setKey} choices={KEYS} />
          <Select label={t('common.within')} value={minutes} onChange={setMinutes} choices={WINDOWS} />
          <NumberField label={t('velocity.more_clicks_than')} whole value={clicks} onChange={setClicks} />
        </div>
      </Card>
      <Card title={t('velocity.highest_click_rates')}>
        <Problem error={error} onRetry={reload} />
        {!data && error === undefined && <Loading />}
        {data?.rows.length === 0 && (
          <Empty title={t('velocity.no_results')}>{t('velocity.lower_the_number_of_clicks')}</Empty>
        )}
        {data && data.rows.length > 0 && (
          <Table
            label={t('velocity.highest_click_rates')}
            rows={data.rows}
            rowKey={({ value }) => value}
            columns={[
              {
                title: KEYS.find(({ value }) => value === key)?.text ?? key,
                head: true,
                cell: ({ value }) => <code>{value}</code>,
              },
              {
                title: t('common.clicks'),
                numeric: true,
                cell: (row) => (
                  <>
                    {formatCount(row.clicks)}
                    <Bar share={row.clicks / most} />
                  </>
                ),
              },
              {
                title: t('common.campaigns'),
                numeric: true,
                cell: ({ campaigns }) => formatCount(campaigns),
              },
              {
                title: t('velocity.user_agents'),
                numeric: true,
                cell: ({ user_agents }) => formatCount(user_agents),
              },
              {
                title: t('velocity.last_seen_zone', { zone: ZONE_NAME }),
                cell: ({ last_seen }) => <When at={last_seen} />,
              },
              {
                title: '',
                cell: ({ value }) => (
                  <div class="actions">
                    <Button onClick={() => setShown(value)} label={t('velocity.details_of_value', { value })}>
                      {t('common.details')}
                    </Button>
                  </div>
                ),
              },
            ]}
          />
        )}
      </Card>
      <SharedAddresses />
      {shown !== undefined && <One keyName={key as Key} value={shown} onClose={() => setShown(undefined)} />}
    </Page>
  );
}

const SPANS = {
  m1: t('velocity.1_minute'),
  m5: t('velocity.5_minutes'),
  m60: t('velocity.1_hour'),
  h24: t('velocity.24_hours'),
} as const;

function One({ keyName, value, onClose }: { keyName: Key; value: string; onClose: () => void }) {
  const params = { path: { key: keyName, value } };
  const { data, error, reload } = useData(
    async (signal) => await take(api.GET('/v1/velocity/{key}/{value}', { params, signal })),
    [keyName, value],
    { everyMs: EVERY_MS },
  );
  const spans = Object.keys(SPANS) as (keyof typeof SPANS)[];
  return (
    <Dialog title={value} onClose={onClose}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <div class="stack">
          <CompleteTo at={data.complete_to} />
          <Table
            label={t('velocity.clicks_and_orders_by_time')}
            rows={spans}
            rowKey={(span) => span}
            columns={[
              { title: t('velocity.in_the_last'), head: true, cell: (span) => SPANS[span] },
              { title: t('common.clicks'), numeric: true, cell: (span) => formatCount(data.clicks[span]) },
              {
                title: t('common.conversions'),
                numeric: true,
                cell: (span) => formatCount(data.conversions[span]),
              },
            ]}
          />
          <dl class="facts">
            <dt>{t('common.campaigns')}</dt>
            <dd>{formatCount(data.campaigns)}</dd>
            <dt>{t('velocity.user_agents')}</dt>
            <dd>{formatCount(data.user_agents)}</dd>
            <dt>{t('velocity.first_seen')}</dt>
            <dd>
              <When at={data.first_seen} />
            </dd>
            <dt>{t('velocity.last_seen')}</dt>
            <dd>
              <When at={data.last_seen} />
            </dd>
          </dl>
        </div>
      )}
    </Dialog>
  );
}
