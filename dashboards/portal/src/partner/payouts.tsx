import { useState } from 'preact/hooks';
import { useParameter } from '../app/router.tsx';
import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { lastDays, PERIODS } from '../data/period.ts';
import { useData } from '../data/use-data.ts';
import { useList } from '../data/use-list.ts';
import { isZero, words, ZONE_NAME } from '../text/format.ts';
import { rich, t } from '../text/t.ts';
import { Amount, Button, Card, Empty, Page, Problem, When } from '../ui/basics.tsx';
import { Segments } from '../ui/forms.tsx';
import { BlockedNotice, Destination, PayoutItems } from '../ui/money/payout-items.tsx';
import { StatementDocuments } from '../ui/money/statements.tsx';
import { Status } from '../ui/status.tsx';
import { ListTable } from '../ui/table.tsx';

const EVERY_MS = 10_000;
const STATES = (['submitted', 'paid', 'failed', 'returned'] as const).map((value) => ({
  value,
  text: words(value),
}));
const TOOLS = {
  search: t('list.payout_id'),
  filters: [{ name: 'state', label: t('common.status'), choices: STATES }],
  days: true,
  file: '/v1/payouts.csv',
};

export function PayoutsPage() {
  const { affiliateId, program } = usePartner();
  const [shown, setShown] = useState<Schemas['Payout']>();
  const path = { params: { path: { id: affiliateId } } };
  const { data } = useData(
    async (signal) => {
      const [balance, method] = await Promise.all([
        take(api.GET('/v1/affiliates/{id}/balance', { ...path, signal })),
        take(api.GET('/v1/affiliates/{id}/payout-method', { ...path, signal })),
      ]);
      return { balance, method };
    },
    [affiliateId],
    { everyMs: EVERY_MS },
  );
  const payouts = useList((query, signal) => api.GET('/v1/payouts', { params: { query }, signal }), {
    query: { affiliate_id: affiliateId },
    filters: ['state'],
    prefix: 'payout_',
    everyMs: EVERY_MS,
  });
  return (
    <Page
      title={t('common.payouts')}
      lead={data ? <Available balance={data.balance} /> : t('partnerPayouts.your_payouts_and_every_movement')}
    >
      <BlockedNotice method={data?.method} />
      <Card title={t('common.payouts')}>
        <ListTable
          label={t('common.payouts')}
          list={payouts}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('partnerPayouts.no_payouts_yet')}>
              {t('partnerPayouts.commissions_become_available_when_their')}
            </Empty>
          }
          columns={[
            { title: t('common.payout'), head: true, cell: ({ id }) => id },
            {
              title: t('common.created_zone', { zone: ZONE_NAME }),
              sort: 'created_at',
              cell: ({ created_at }) => <When at={created_at} />,
            },
            { title: t('common.status'), sort: 'state', cell: ({ state }) => <Status of={state} /> },
            { title: t('common.to'), cell: ({ destination }) => <Destination to={destination} /> },
            {
              title: t('common.closed_zone', { zone: ZONE_NAME }),
              cell: ({ closed_at }) => <When at={closed_at} />,
            },
            {
              title: t('common.amount'),
              numeric: true,
              sort: 'amount',
              cell: ({ amount }) => <Amount money={amount} strong />,
            },
            {
              title: '',
              cell: (payout) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(payout)}
                    label={t('partnerPayouts.commissions_of_payout_payout', { payout: payout.id })}
                  >
                    {t('common.commissions')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      <StatementDocuments programId={program.id} affiliateId={affiliateId} />
      <StatementCard />
      {shown && <PayoutItems payout={shown} onClose={() => setShown(undefined)} />}
    </Page>
  );
}

function Available({ balance }: { balance: Schemas['Balance'] }) {
  const available = <Amount money={balance.available} strong />;
  return (
    <>
      {isZero(balance.adjustments)
        ? rich('partnerPayouts.available', { available })
        : rich('partnerPayouts.available_and_adjustments', {
            available,
            adjustments: <Amount money={balance.adjustments} strong />,
          })}
    </>
  );
}

const PARTS = ['pending', 'available', 'in_transit', 'paid', 'debt', 'adjustments'] as const;
const HEADS = {
  pending: t('common.pending'),
  available: t('common.available'),
  in_transit: t('common.in_transit'),
  paid: t('common.paid'),
  debt: t('common.debt'),
  adjustments: t('common.bonuses_deductions'),
};

/** A movement, or the opening or closing balance. */
type Line = Pick<Schemas['StatementLine'], (typeof PARTS)[number]> & {
  readonly id: string;
  readonly at: string;
  readonly kind: string;
  readonly about: string | null;
  readonly destination: string | null;
  readonly note: string | null;
};

function StatementCard() {
  const { affiliateId } = usePartner();
  const [days, setDays] = useParameter('days', '30');
  const [ends, setEnds] = useState<Pick<Schemas['Statement'], 'opening' | 'closing'>>();
  const range = lastDays(Number(days));
  const lines = useList(
    async (query, signal) => {
      const answer = await api.GET('/v1/affiliates/{id}/statement', {
        params: { path: { id: affiliateId }, query },
        signal,
      });
      if (answer.data) setEnds({ opening: answer.data.opening, closing: answer.data.closing });
      return answer;
    },
    { query: { ...range }, prefix: 'line_', everyMs: EVERY_MS },
  );
  const rows: Line[] | undefined = lines.rows?.map((line) => ({
    ...line,
    about:
      line.order_id === null
        ? (line.conversion_id ?? line.payout_id)
        : t('common.order_orderid', { orderId: line.order_id }),
  }));
  const end = (id: string, at: string, amounts: Schemas['Statement']['opening']): Line => ({
    id,
    at,
    kind: id,
    about: null,
    destination: null,
    note: null,
    ...amounts,
  });
  // The range reaches to the next full hour, the balance to this moment.
  const closedAt = new Date(Math.min(Date.parse(range.to), Date.now())).toISOString();
  const all = rows &&
    ends && [
      end('opening_balance', range.from, ends.opening),
      ...rows,
      ...(lines.hasMore ? [] : [end('closing_balance', closedAt, ends.closing)]),
    ];
  return (
    <Card
      title={t('common.statement')}
      note={t('partnerPayouts.every_movement_between_the_states')}
      actions={
        <>
          <Segments
            label={t('partnerPayouts.period_of_the_statement')}
            value={days}
            onChange={setDays}
            choices={PERIODS}
          />
          <a
            class="button"
            href={`/v1/affiliates/${affiliateId}/statement?${new URLSearchParams({ ...range, format: 'csv' })}`}
            download="statement.csv"
          >
            {t('common.export')}
          </a>
        </>
      }
    >
      <Problem error={lines.error} onRetry={lines.reload} />
      <ListTable
        label={t('common.statement')}
        list={{ ...lines, error: undefined, rows: all }}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          { title: t('partnerPayouts.movement'), head: true, cell: ({ kind }) => words(kind) },
          { title: t('common.at_zone', { zone: ZONE_NAME }), cell: ({ at }) => <When at={at} /> },
          {
            title: t('common.reference'),
            cell: ({ about, destination, note }) => (
              <>
                {about ?? ''}
                {destination && (
                  <span class="sub">{t('partnerPayouts.to_destination', { destination })}</span>
                )}
                {note}
              </>
            ),
          },
          ...PARTS.map((part) => ({
            title: HEADS[part],
            numeric: true,
            cell: (line: Line) => <Moved money={line[part]} />,
          })),
        ]}
      />
    </Card>
  );
}

function Moved({ money }: { money: Schemas['Money'] }) {
  return Number(money.amount) === 0 ? <span class="muted">–</span> : <Amount money={money} />;
}
