import { useState } from 'preact/hooks';
import { Link, useParameters } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api } from '../../../data/api.ts';
import { useList } from '../../../data/use-list.ts';
import { formatCount, words, ZONE_NAME } from '../../../text/format.ts';
import { rich, t } from '../../../text/t.ts';
import { Amount, Button, Card, Empty, Page, When } from '../../../ui/basics.tsx';
import { Explored, KEY_NAMES } from '../../../ui/explored.tsx';
import { Status } from '../../../ui/status.tsx';
import { ListTable } from '../../../ui/table.tsx';
import { isSubjectKind } from './kinds.ts';
import { OpenCase } from './open-case.tsx';

const EVERY_MS = 10_000;
const STATE_CHOICES = ['open', 'decided', 'closed'].map((value) => ({ value, text: words(value) }));

/**
 * Orders that are reviewed as one. `?related=cnv_1` begins a case with those that share something with this order,
 * `?kind=ip&value=203.0.113.7` one that this address is what it began with.
 */
export function CasesPage() {
  const { program } = useSession();
  const [{ related, kind, value }, setParameters] = useParameters(['related', 'kind', 'value']);
  const subject = isSubjectKind(kind) && value !== '' ? { kind, value } : undefined;
  const [isOpening, setOpening] = useState(false);
  const list = useList((query, signal) => api.GET('/v1/cases', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: ['state'],
    everyMs: EVERY_MS,
  });
  const close = () => {
    setOpening(false);
    setParameters({ related: '', kind: '', value: '' });
  };
  return (
    <Page
      title={t('cases.title')}
      lead={t('cases.lead')}
      actions={<Button onClick={() => setOpening(true)}>{t('cases.open_a_case')}</Button>}
    >
      <Card>
        <ListTable
          label={t('cases.title')}
          list={list}
          tools={{
            search: t('cases.search'),
            filters: [{ name: 'state', label: t('common.status'), choices: STATE_CHOICES }],
            days: true,
            file: '/v1/cases.csv',
          }}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('cases.no_cases')}>
              {rich('cases.they_begin_in', { link: (text) => <Link to="/reviews">{text}</Link> })}
            </Empty>
          }
          columns={[
            {
              title: t('cases.case'),
              head: true,
              sort: 'title',
              cell: ({ id, title, subject: began }) => (
                <>
                  <Link to={`/cases/${id}`}>{title}</Link>
                  <span class="sub">
                    {id}
                    {began && (
                      <>
                        , {KEY_NAMES[began.kind]} <Explored of={began.kind} value={began.value} />
                      </>
                    )}
                  </span>
                </>
              ),
            },
            { title: t('common.status'), cell: ({ state }) => <Status of={state} /> },
            {
              title: t('common.orders'),
              numeric: true,
              sort: 'orders',
              cell: ({ orders }) => formatCount(orders),
            },
            { title: t('common.in_review'), numeric: true, cell: ({ in_review }) => formatCount(in_review) },
            {
              title: t('cases.value_in_review'),
              numeric: true,
              sort: 'in_review',
              cell: ({ in_review_amount }) => <Amount money={in_review_amount} />,
            },
            {
              title: t('cases.opened_zone', { zone: ZONE_NAME }),
              sort: 'opened_at',
              cell: ({ opened_at }) => <When at={opened_at} />,
            },
          ]}
        />
      </Card>
      {(isOpening || related !== '' || subject) && (
        <OpenCase
          conversionIds={[]}
          {...(related !== '' && { relatedTo: related })}
          {...(subject && { subject })}
          onClose={close}
        />
      )}
    </Page>
  );
}
