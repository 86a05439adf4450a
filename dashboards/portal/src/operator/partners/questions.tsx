import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { ListTable } from '../../ui/table.tsx';
import { OrderDetails } from '../orders/order-details.tsx';

const EVERY_MS = 10_000;

/** Questions of partners about orders that wait for an answer. */
export function QuestionsPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<Schemas['ReadConversion']>();
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: program.id, cursor };
      return api.GET('/v1/order-questions', { params: { query }, signal });
    },
    [program.id],
    EVERY_MS,
  );
  const open = useAction(async (id: string) => {
    setShown(await take(api.GET('/v1/conversions/{id}', { params: { path: { id } } })));
  });
  return (
    <Page title="Questions" lead="What partners ask about orders, the longest waiting first.">
      <Card>
        <Problem error={open.error} />
        <ListTable
          label="Questions"
          list={list}
          rowKey={({ id }) => id}
          empty={<Empty title="No open questions">Partners ask at the details of an order.</Empty>}
          columns={[
            {
              title: 'Order',
              head: true,
              cell: ({ order_id, affiliate_name }) => (
                <>
                  {order_id}
                  <span class="sub">{affiliate_name}</span>
                </>
              ),
            },
            { title: 'Question', cell: ({ text }) => <span class="message">{text}</span> },
            { title: `Asked (${ZONE_NAME})`, cell: ({ created_at }) => <When at={created_at} /> },
            {
              title: '',
              cell: ({ conversion_id, order_id }) => (
                <div class="actions">
                  <Button
                    onClick={() => void open.run(conversion_id)}
                    label={`Answer about order ${order_id}`}
                  >
                    Answer
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
