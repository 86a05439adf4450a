import { api } from '../../data/api.ts';
import { useList } from '../../data/use-list.ts';
import { formatMonth, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Amount, Card, Empty, When } from '../basics.tsx';
import { choicesOf } from '../list-tools.tsx';
import { ListTable } from '../table.tsx';

const FILTERS = ['affiliate_id'];

/** Monthly statements as files, of a partner or of all partners of the program. */
export function StatementDocuments(props: {
  programId: string;
  affiliateId?: string;
  /** Names of partners, where there are several. */
  names?: ReadonlyMap<string, string>;
}) {
  const { programId, affiliateId, names } = props;
  const list = useList((query, signal) => api.GET('/v1/statement-documents', { params: { query }, signal }), {
    query: { program_id: programId, affiliate_id: affiliateId },
    filters: FILTERS,
    prefix: 'statement_',
  });
  const partners = names && { name: 'affiliate_id', label: t('common.partner'), choices: choicesOf(names) };
  const tools = {
    ...(names && { search: t('list.partner_or_number') }),
    filters: partners ? [partners] : [],
    file: '/v1/statement-documents.csv',
  };
  return (
    <Card title={t('statements.monthly_statements')} note={t('statements.made_once_on_the_second')}>
      <ListTable
        label={t('statements.monthly_statements')}
        list={list}
        tools={tools}
        rowKey={({ id }) => id}
        empty={
          <Empty title={t('statements.no_statements_yet')}>{t('statements.the_first_one_comes_after')}</Empty>
        }
        columns={[
          {
            title: t('statements.month'),
            head: true,
            cell: ({ month, number, affiliate_id }) => (
              <>
                {formatMonth(month)}
                <span class="sub">
                  {t('statements.number', { number })}
                  {names && `, ${names.get(affiliate_id) ?? affiliate_id}`}
                </span>
              </>
            ),
          },
          {
            title: t('statements.issued_zone', { zone: ZONE_NAME }),
            cell: ({ issued_at }) => <When at={issued_at} />,
          },
          {
            title: t('statements.became_payable'),
            numeric: true,
            cell: ({ payable }) => <Amount money={payable} strong />,
          },
          {
            title: t('statements.vat_in_it'),
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
                    aria-label={t('statements.statement_of_month_as_format', {
                      month,
                      format: format.toUpperCase(),
                    })}
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
  return <span class="muted">{kind === 'none' ? '–' : t('statements.reverse_charge')}</span>;
}
