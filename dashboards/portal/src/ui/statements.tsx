import { api } from '../data/api.ts';
import { usePages } from '../data/use-pages.ts';
import { ZONE_NAME } from '../text/format.ts';
import { Amount, Card, Empty, When } from './basics.tsx';
import { ListTable } from './table.tsx';

const PAGE_ROWS = 25;

/** Monthly statements as files, of a partner or of all partners of the program. */
export function StatementDocuments(props: {
  programId: string;
  affiliateId?: string;
  /** Names of partners, where there are several. */
  names?: ReadonlyMap<string, string>;
}) {
  const { programId, affiliateId, names } = props;
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: programId, affiliate_id: affiliateId, limit: PAGE_ROWS, cursor };
      return api.GET('/v1/statement-documents', { params: { query }, signal });
    },
    [programId, affiliateId],
  );
  return (
    <Card
      title="Monthly statements"
      note="Made once, on the second day of the next month, and never changed. Days are those of UTC."
    >
      <ListTable
        label="Monthly statements"
        list={list}
        rowKey={({ id }) => id}
        empty={
          <Empty title="No statements yet">The first one comes after the first month with movements.</Empty>
        }
        columns={[
          {
            title: 'Month',
            head: true,
            cell: ({ month, number, affiliate_id }) => (
              <>
                {month}
                <span class="sub">
                  No. {number}
                  {names && `, ${names.get(affiliate_id) ?? affiliate_id}`}
                </span>
              </>
            ),
          },
          { title: `Issued (${ZONE_NAME})`, cell: ({ issued_at }) => <When at={issued_at} /> },
          {
            title: 'Became payable',
            numeric: true,
            cell: ({ payable }) => <Amount money={payable} strong />,
          },
          {
            title: 'VAT in it',
            numeric: true,
            cell: ({ vat, vat_amount }) => <Vat kind={vat} amount={vat_amount} />,
          },
          {
            title: '',
            cell: ({ id, month }) => (
              <div class="actions">
                {(['pdf', 'csv'] as const).map((format) => (
                  <a
                    key={format}
                    class="button"
                    href={`/v1/statement-documents/${id}?format=${format}`}
                    aria-label={`Statement of ${month} as ${format.toUpperCase()}`}
                    download
                  >
                    {format.toUpperCase()}
                  </a>
                ))}
              </div>
            ),
          },
        ]}
      />
    </Card>
  );
}

function Vat({
  kind,
  amount,
}: {
  kind: 'none' | 'domestic' | 'reverse_charge';
  amount: { amount: string; currency: string };
}) {
  if (kind === 'domestic') return <Amount money={amount} />;
  return <span class="muted">{kind === 'none' ? '–' : 'Reverse charge'}</span>;
}
