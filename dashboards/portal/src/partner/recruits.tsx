import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';
import { formatBps, formatCount, ZONE_NAME } from '../text/format.ts';
import { Amount, Card, Empty, Loading, Page, Problem, When } from '../ui/basics.tsx';
import { Status } from '../ui/status.tsx';
import { Table } from '../ui/table.tsx';

export function RecruitsPage() {
  const { affiliateId, program } = usePartner();
  const { data, error, reload } = useData(
    async (signal) => {
      const [recruits, terms] = await Promise.all([
        take(
          api.GET('/v1/affiliates/{id}/sub-affiliates', { params: { path: { id: affiliateId } }, signal }),
        ),
        take(api.GET('/v1/terms', { params: { query: { program_id: program.id } }, signal })),
      ]);
      return { recruits: recruits.data, terms: terms.data };
    },
    [affiliateId],
  );
  return (
    <Page
      title="Sub-affiliates"
      lead="Partners recruited by you and by your recruits. You earn a share of the orders of their visitors."
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <Levels terms={data.terms} />
          <Card title="Recruits">
            {data.recruits.length === 0 ? (
              <Empty title="No recruits yet">
                When a partner joins through you, ask the program to record you as the recruiter.
              </Empty>
            ) : (
              <Table
                label="Sub-affiliates"
                rows={inTreeOrder(data.recruits, affiliateId)}
                rowKey={({ id }) => id}
                columns={[
                  {
                    title: 'Partner',
                    head: true,
                    cell: ({ name, level }) => (
                      <span class="branch" style={{ paddingLeft: `${(level - 2) * 20}px` }}>
                        {name}
                      </span>
                    ),
                  },
                  { title: 'Your level', cell: ({ level }) => `Level ${level}` },
                  { title: 'Status', cell: ({ status }) => <Status of={status} /> },
                  { title: `Joined (${ZONE_NAME})`, cell: ({ since }) => <When at={since} /> },
                  {
                    title: 'Credited conversions',
                    numeric: true,
                    cell: ({ conversions_attributed }) => formatCount(conversions_attributed),
                  },
                  {
                    title: 'Your earnings',
                    numeric: true,
                    cell: ({ earned }) => <Amount money={earned} strong />,
                  },
                ]}
              />
            )}
          </Card>
        </>
      )}
    </Page>
  );
}

type Recruit = Schemas['SubAffiliates']['data'][number];

/** Each recruit below its recruiter. */
function inTreeOrder(recruits: readonly Recruit[], of: string): Recruit[] {
  return recruits
    .filter(({ parent_id }) => parent_id === of)
    .flatMap((recruit) => [recruit, ...inTreeOrder(recruits, recruit.id)]);
}

/** Rates of each level by the current terms: the partner's own, else the program's. */
function Levels({ terms }: { terms: readonly Schemas['Terms'][] }) {
  const { affiliateId } = usePartner();
  const now = Date.now();
  const today = terms.filter(
    ({ campaign_id, valid_from, valid_to }) =>
      campaign_id === null &&
      (valid_from === null || Date.parse(valid_from) <= now) &&
      (valid_to === null || Date.parse(valid_to) > now),
  );
  const inForce = today.find(({ affiliate_id }) => affiliate_id === affiliateId) ?? today[0];
  if (!inForce) return null;
  return (
    <Card
      title="Levels"
      note="Shares of the order value by your current terms. Campaigns can have terms of their own."
    >
      <dl class="facts">
        <dt>Level 1</dt>
        <dd>
          {inForce.commission_type === 'fixed' ? 'a fixed amount' : formatBps(inForce.rate_bps)} – your own
          visitors
        </dd>
        {inForce.level_rates_bps.map((bps, i) => (
          <Level key={i} level={i + 2} bps={bps} />
        ))}
      </dl>
    </Card>
  );
}

function Level({ level, bps }: { level: number; bps: number }) {
  const whose = level === 2 ? 'visitors of your recruits' : 'visitors of their recruits';
  return (
    <>
      <dt>Level {level}</dt>
      <dd>
        {formatBps(bps)} – {whose}
      </dd>
    </>
  );
}
