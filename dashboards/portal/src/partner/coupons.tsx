import { usePartner } from '../app/session.tsx';
import { api } from '../data/api.ts';
import { usePages } from '../data/use-pages.ts';
import { ZONE_NAME } from '../text/format.ts';
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
    <Card
      title="Your coupon codes"
      note="An order with one of these codes is credited to you, also without a click on your link."
    >
      <ListTable
        label="Coupon codes"
        list={list}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          { title: 'Code', head: true, cell: ({ code }) => code },
          { title: 'Campaign', cell: ({ campaign_id }) => campaigns.get(campaign_id) ?? campaign_id },
          {
            title: `Until (${ZONE_NAME})`,
            cell: ({ valid_until, withdrawn_at }) => <When at={withdrawn_at ?? valid_until} none="no end" />,
          },
          { title: 'Status', cell: (coupon) => <CouponStatus coupon={coupon} /> },
          {
            title: '',
            cell: ({ code }) => (
              <div class="actions">
                <Copy text={code} label={`the code ${code}`} />
              </div>
            ),
          },
        ]}
      />
    </Card>
  );
}
