import { usePartner } from '../app/session.tsx';
import { api } from '../data/api.ts';
import { usePages } from '../data/use-pages.ts';
import { ZONE_NAME } from '../text/format.ts';
import { t } from '../text/t.ts';
import { Card, Copy, When } from '../ui/basics.tsx';
import { CouponStatus } from '../ui/status.tsx';
import { ListTable } from '../ui/table.tsx';

const PAGE_ROWS = 50;

/** The partner's coupon codes; nothing where it has none. */
export function CouponsCard({ campaigns }: { campaigns: ReadonlyMap<string, string> }) {
  const { affiliateId } = usePartner();
  const list = usePages(
    (cursor, signal) => api.GET('/v1/coupons', { params: { query: { limit: PAGE_ROWS, cursor } }, signal }),
    [affiliateId],
  );
  if (list.error === undefined && (list.rows ?? []).length === 0) return null;
  return (
    <Card title={t('partnerCoupons.your_coupon_codes')} note={t('partnerCoupons.an_order_with_one_of')}>
      <ListTable
        label={t('common.coupon_codes')}
        list={list}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          { title: t('common.code'), head: true, cell: ({ code }) => code },
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
