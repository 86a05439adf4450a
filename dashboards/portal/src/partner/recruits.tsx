import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';
import { formatBps, formatCount, ZONE_NAME } from '../text/format.ts';
import { t } from '../text/t.ts';
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
    <Page title={t('common.sub_affiliates')} lead={t('recruits.partners_recruited_by_you_and')}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <Levels terms={data.terms} />
          <Card title={t('recruits.recruits')}>
            {data.recruits.length === 0 ? (
              <Empty title={t('recruits.no_recruits_yet')}>
                {t('recruits.when_a_partner_joins_through')}
              </Empty>
            ) : (
              <Table
                label={t('common.sub_affiliates')}
                rows={inTreeOrder(data.recruits, affiliateId)}
                rowKey={({ id }) => id}
                columns={[
                  {
                    title: t('common.partner'),
                    head: true,
                    cell: ({ name, level }) => (
                      <span class="branch" style={{ paddingLeft: `${(level - 2) * 20}px` }}>
                        {name}
                      </span>
                    ),
                  },
                  {
                    title: t('recruits.your_level'),
                    cell: ({ level }) => t('recruits.level_level', { level }),
                  },
                  { title: t('common.status'), cell: ({ status }) => <Status of={status} /> },
                  {
                    title: t('common.joined_zone', { zone: ZONE_NAME }),
                    cell: ({ since }) => <When at={since} />,
                  },
                  {
                    title: t('common.credited_conversions'),
                    numeric: true,
                    cell: ({ conversions_attributed }) => formatCount(conversions_attributed),
                  },
                  {
                    title: t('recruits.your_earnings'),
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
  const own =
    inForce.commission_type === 'fixed' ? t('recruits.a_fixed_amount') : formatBps(inForce.rate_bps);
  return (
    <Card title={t('recruits.levels')} note={t('recruits.shares_of_the_order_value')}>
      <dl class="facts">
        <dt>{t('recruits.level_1')}</dt>
        <dd>{t('recruits.own_visitors', { rate: own })}</dd>
        {inForce.level_rates_bps.map((bps, i) => (
          <Level key={i} level={i + 2} bps={bps} />
        ))}
      </dl>
    </Card>
  );
}

function Level({ level, bps }: { level: number; bps: number }) {
  const whose =
    level === 2 ? t('recruits.visitors_of_your_recruits') : t('recruits.visitors_of_their_recruits');
  return (
    <>
      <dt>{t('recruits.level_level', { level })}</dt>
      <dd>
        {formatBps(bps)} – {whose}
      </dd>
    </>
  );
}
