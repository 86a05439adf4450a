import { useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { isZero, words, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Amount, Card, Empty, Page, When } from '../basics.tsx';
import { choicesOf } from '../list-tools.tsx';
import { Status } from '../status.tsx';
import { ListTable } from '../table.tsx';

type Commission = Schemas['Commission'];

const EVERY_MS = 10_000;
const FILTERS = ['affiliate_id', 'state'];
const STATES = (['held', 'pending', 'available', 'in_payout', 'paid', 'reversed', 'rejected'] as const).map(
  (value) => ({ value, text: words(value) }),
);

/** What orders have earned, of a partner or of all partners of the program. */
export function CommissionsPage() {
  const { program, user } = useSession();
  const names = useNames();
  const isPartner = user.affiliate_id !== null;
  const list = useList((query, signal) => api.GET('/v1/commissions', { params: { query }, signal }), {
    query: isPartner ? { affiliate_id: user.affiliate_id ?? undefined } : { program_id: program.id },
    filters: FILTERS,
    everyMs: EVERY_MS,
  });
  const partner = {
    title: t('common.partner'),
    sort: 'affiliate',
    cell: ({ affiliate_id }: Commission) => names.get(affiliate_id) ?? affiliate_id,
  };
  return (
    <Page title={t('common.commissions')} lead={t('commissions.what_each_order_has_earned')}>
      <Card>
        <ListTable
          label={t('common.commissions')}
          list={list}
          tools={{
            search: t('commissions.whole_order_id_or_com'),
            filters: [
              ...(isPartner
                ? []
                : [{ name: 'affiliate_id', label: t('common.partner'), choices: choicesOf(names) }]),
              { name: 'state', label: t('common.status'), choices: STATES },
            ],
            days: true,
            file: '/v1/commissions.csv',
          }}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('commissions.none')}>
              {t('partnerConversions.none_only_credited_orders_earn')}
            </Empty>
          }
          columns={[
            {
              title: t('common.order'),
              head: true,
              cell: ({ order_id, id, conversion_id }) => (
                <>
                  {order_id ?? conversion_id}
                  <span class="sub">{id}</span>
                </>
              ),
            },
            ...(isPartner ? [] : [partner]),
            {
              title: t('common.created_zone', { zone: ZONE_NAME }),
              sort: 'created_at',
              cell: ({ created_at }) => <When at={created_at} />,
            },
            { title: t('commissions.level'), numeric: true, cell: ({ level }) => level },
            { title: t('common.status'), sort: 'state', cell: ({ state }) => <Status of={state} /> },
            {
              title: t('commissions.available_zone', { zone: ZONE_NAME }),
              sort: 'available_at',
              cell: ({ state, available_at }) =>
                state === 'held' || state === 'rejected' ? '–' : <When at={available_at} />,
            },
            {
              title: t('common.earned'),
              numeric: true,
              sort: 'amount',
              cell: ({ amount }) => <Amount money={amount} strong />,
            },
            {
              title: t('partnerConversions.reversed'),
              numeric: true,
              cell: ({ reversed }) =>
                isZero(reversed) ? <span class="muted">–</span> : <Amount money={reversed} />,
            },
          ]}
        />
      </Card>
    </Page>
  );
}
