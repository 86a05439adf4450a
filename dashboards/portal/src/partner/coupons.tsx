import { usePartner } from '../app/session.tsx';
import { api } from '../data/api.ts';
import { useList } from '../data/use-list.ts';
import { ZONE_NAME } from '../text/format.ts';
import { t } from '../text/t.ts';
import { Card, Copy, When } from '../ui/basics.tsx';
import { isFiltered } from '../ui/list-tools.tsx';
import { CouponStatus } from '../ui/status.tsx';
import { ListTable } from '../ui/table.tsx';

const TOOLS = { search: t('common.code'), file: '/v1/coupons.csv' };

/** The partner's coupon codes; nothing where it has none. */
export function CouponsCard({ campaigns }: { campaigns: ReadonlyMap<string, string> }) {
  const { affiliateId } = usePartner();
  const list = useList((query, signal) => api.GET('/v1/coupons', { params: { query }, signal }), {
    query: { affiliate_id: affiliateId },
    prefix: 'coupon_',
  });
  if (list.error === undefined && (list.rows ?? []).length === 0 && !isFiltered(list)) return null;
  return (
    <Card title={t('partnerCoupons.your_coupon_codes')} note={t('partnerCoupons.an_order_with_one_of')}>
      <ListTable
        label={t('common.coupon_codes')}
        list={list}
        tools={TOOLS}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          { title: t('common.code'), head: true, sort: 'code', cell: ({ code }) => code },
          {
            title: t('common.campaign'),
            cell: ({ campaign_id }) => campaigns.get(campaign_id) ?? campaign_id,
          },
          {
            title: t('common.until_zone', { zone: ZONE_NAME }),
            cell: ({ valid_until, withdrawn_at }) => (
              <When at={withdrawn_at ?? valid_until} none={t('common.no_end')} />
            ),
          },
          { title: t('common.status'), cell: (coupon) => <CouponStatus coupon={coupon} /> },
          {
            title: '',
            cell: ({ code }) => (
              <div class="actions">
                <Copy text={code} label={t('common.the_code_code', { code })} />
              </div>
            ),
          },
        ]}
      />
    </Card>
  );
}
