import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { api, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { formatCount, ZONE_NAME } from '../../text/format.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Bar } from '../../ui/charts.tsx';
import { Dialog, Segments, Select, TextField } from '../../ui/forms.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { Table } from '../../ui/table.tsx';
import { SharedAddresses } from './shared-addresses.tsx';

const KEYS = [
  { value: 'ip', text: 'Address' },
  { value: 'subnet', text: 'Network' },
  { value: 'fingerprint', text: 'Browser' },
] as const;
type Key = (typeof KEYS)[number]['value'];
const WINDOWS = [
  { value: '5', text: '5 minutes' },
  { value: '60', text: '1 hour' },
  { value: '1440', text: '24 hours' },
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
      return (await take(api.GET('/v1/velocity', { params: { query }, signal }))).data;
    },
    [key, minutes, threshold],
    { everyMs: EVERY_MS },
  );
  const most = Math.max(1, ...(data ?? []).map((row) => row.clicks));
  return (
    <Page title="Velocity" lead={<CompleteTo />}>
      <Card>
        <div class="filters">
          <Segments label="By" value={key} onChange={setKey} choices={KEYS} />
          <Select label="Within" value={minutes} onChange={setMinutes} choices={WINDOWS} />
          <TextField label="More clicks than" inputMode="numeric" value={clicks} onChange={setClicks} />
        </div>
      </Card>
      <Card title="Highest click rates">
        <Problem error={error} onRetry={reload} />
        {!data && error === undefined && <Loading />}
        {data?.length === 0 && (
          <Empty title="No results">Lower the number of clicks, or choose a longer window.</Empty>
        )}
        {data && data.length > 0 && (
          <Table
            label="Highest click rates"
            rows={data}
            rowKey={({ value }) => value}
            columns={[
              {
                title: KEYS.find(({ value }) => value === key)?.text ?? key,
                head: true,
                cell: ({ value }) => <code>{value}</code>,
              },
              {
                title: 'Clicks',
                numeric: true,
                cell: (row) => (
                  <>
                    {formatCount(row.clicks)}
                    <Bar share={row.clicks / most} />
                  </>
                ),
              },
              { title: 'Campaigns', numeric: true, cell: ({ campaigns }) => formatCount(campaigns) },
              { title: 'User agents', numeric: true, cell: ({ user_agents }) => formatCount(user_agents) },
              { title: `Last seen (${ZONE_NAME})`, cell: ({ last_seen }) => <When at={last_seen} /> },
              {
                title: '',
                cell: ({ value }) => (
                  <div class="actions">
                    <Button onClick={() => setShown(value)} label={`Details of ${value}`}>
                      Details
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

const SPANS = { m1: '1 minute', m5: '5 minutes', m60: '1 hour', h24: '24 hours' } as const;

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
          <Table
            label="Clicks and orders by time span"
            rows={spans}
            rowKey={(span) => span}
            columns={[
              { title: 'In the last', head: true, cell: (span) => SPANS[span] },
              { title: 'Clicks', numeric: true, cell: (span) => formatCount(data.clicks[span]) },
              { title: 'Conversions', numeric: true, cell: (span) => formatCount(data.conversions[span]) },
            ]}
          />
          <dl class="facts">
            <dt>Campaigns</dt>
            <dd>{formatCount(data.campaigns)}</dd>
            <dt>User agents</dt>
            <dd>{formatCount(data.user_agents)}</dd>
            <dt>First seen</dt>
            <dd>
              <When at={data.first_seen} />
            </dd>
            <dt>Last seen</dt>
            <dd>
              <When at={data.last_seen} />
            </dd>
          </dl>
        </div>
      )}
    </Dialog>
  );
}
