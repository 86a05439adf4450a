import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { ListTable } from '../../ui/table.tsx';
import { OrderDetails } from '../orders/order-details.tsx';

const EVERY_MS = 10_000;

/** Questions of partners about orders that wait for an answer. */
export function QuestionsPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<Schemas['ReadConversion']>();
  const list = useList((query, signal) => api.GET('/v1/order-questions', { params: { query }, signal }), {
    query: { program_id: program.id },
    everyMs: EVERY_MS,
  });
  const open = useAction(async (id: string) => {
    setShown(await take(api.GET('/v1/conversions/{id}', { params: { path: { id } } })));
  });
  return (
    <Page title={t('common.questions')} lead={t('questions.what_partners_ask')}>
      <Card>
        <Problem error={open.error} />
        <ListTable
          label={t('common.questions')}
          list={list}
          rowKey={({ id }) => id}
          empty={<Empty title={t('questions.no_open_questions')}>{t('questions.partners_ask')}</Empty>}
          columns={[
            {
              title: t('common.order'),
              head: true,
              cell: ({ order_id, affiliate_name }) => (
                <>
                  {order_id}
                  <span class="sub">{affiliate_name}</span>
                </>
              ),
            },
            { title: t('signUp.question'), cell: ({ text }) => <span class="message">{text}</span> },
            {
              title: t('questions.asked_zone', { zone: ZONE_NAME }),
              cell: ({ created_at }) => <When at={created_at} />,
            },
            {
              title: '',
              cell: ({ conversion_id, order_id }) => (
                <div class="actions">
                  <Button
                    onClick={() => void open.run(conversion_id)}
                    label={t('questions.answer_about', { order: order_id })}
                  >
                    {' '}
                    {t('common.answer')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown && (
        <OrderDetails
          conversion={shown}
          isAsked
          onClose={() => {
            setShown(undefined);
            list.reload();
          }}
          onChanged={(conversion) => setShown({ ...shown, ...conversion })}
        />
      )}
    </Page>
  );
}
