import { Link } from '../../app/router.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { providerName, words } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Amount, Loading, Problem, When } from '../basics.tsx';
import { Dialog } from '../forms.tsx';
import { Status } from '../status.tsx';
import { Table } from '../table.tsx';

/** The commissions of a payout. */
export function PayoutItems({ payout, onClose }: { payout: Schemas['Payout']; onClose: () => void }) {
  const { data, error } = useData(
    async (signal) =>
      (await take(api.GET('/v1/payouts/{id}/items', { params: { path: { id: payout.id } }, signal }))).data,
    [payout.id],
  );
  return (
    <Dialog title={t('payoutItems.payout_payout', { payout: payout.id })} onClose={onClose}>
      <div class="stack">
        <dl class="facts">
          <dt>{t('common.amount')}</dt>
          <dd>
            <Amount money={payout.amount} strong />
          </dd>
          <dt>{t('common.status')}</dt>
          <dd>
            <Status of={payout.state} /> {payout.failure}
            {payout.provider_failure && <span class="sub">{payout.provider_failure}</span>}
          </dd>
          <dt>{t('common.by')}</dt>
          <dd>{providerName(payout.provider)}</dd>
          <dt>{t('common.to')}</dt>
          <dd>
            <Destination to={payout.destination} />
          </dd>
          <dt>{t('payoutItems.submitted')}</dt>
          <dd>
            <When at={payout.submitted_at} none={t('common.not_yet')} />
          </dd>
          <dt>{t('payoutItems.closed')}</dt>
          <dd>
            <When at={payout.closed_at} none={t('common.not_yet')} />
          </dd>
        </dl>
        <Problem error={error} />
        {data === undefined && error === undefined && <Loading />}
        {data && (
          <Table
            label={t('common.commissions')}
            rows={data}
            rowKey={({ commission_id, kind }) => `${kind} ${commission_id}`}
            columns={[
              {
                title: t('common.for'),
                head: true,
                cell: ({ commission_id, conversion_id, order_id, kind }) => (
                  <>
                    {order_id === null
                      ? (conversion_id ?? words(kind))
                      : t('common.order_orderid', { orderId: order_id })}
                    {commission_id && (
                      <span class="sub">
                        {kind === 'commission' ? commission_id : `${words(kind)}, ${commission_id}`}
                      </span>
                    )}
                  </>
                ),
              },
              { title: t('common.amount'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
            ]}
          />
        )}
      </div>
    </Dialog>
  );
}

/** Where a payout goes, by its hint. */
export function Destination({ to }: { to: Schemas['PayoutDestination'] | null }) {
  if (to === null) return <span class="muted">{t('payoutItems.no_account')}</span>;
  return (
    <>
      {to.hint}
      <span class="sub">{to.kind === 'email' ? t('common.e_mail_address') : words(to.kind)}</span>
    </>
  );
}

/** Why no payouts are made to a partner's payout method now. */
export function BlockedNotice({ method }: { method: Schemas['PayoutMethod'] | undefined }) {
  if (!method?.blocked) return null;
  return (
    <p class="notice warn">
      <span>
        <WhyBlocked method={method} />
      </span>
    </p>
  );
}

function WhyBlocked({ method: { blocked, hold, refused_at } }: { method: Schemas['PayoutMethod'] }) {
  switch (blocked) {
    case 'no_tax_data':
      return (
        <>
          {rich('payoutItems.the_program_needs_your_tax', {
            link: (text) => <Link to="/profile">{text}</Link>,
          })}
        </>
      );
    case 'no_payout_method':
      return (
        <>
          {rich('payoutItems.no_payout_method_set_set', {
            link: (text) => <Link to="/profile">{text}</Link>,
          })}
        </>
      );
    case 'method_does_not_fit_provider':
      return (
        <>
          {rich('payoutItems.the_program_does_not_pay', {
            link: (text) => <Link to="/profile">{text}</Link>,
          })}
        </>
      );
    case 'method_refused':
      return (
        <>
          {rich('payoutItems.a_payment_to_this_account', {
            refusedAt: <When at={refused_at} />,
            link: (text) => <Link to="/profile">{text}</Link>,
          })}
        </>
      );
    case 'destination_on_hold':
      return (
        <>
          {rich('payoutItems.payouts_on_hold_until_until', {
            until: <When at={hold?.until ?? null} />,
            changedAt: <When at={hold?.changed_at ?? null} />,
          })}
        </>
      );
    case null:
      return null;
  }
}
