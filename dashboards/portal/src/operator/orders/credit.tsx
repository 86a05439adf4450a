import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeAll } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { t } from '../../text/t.ts';
import { Loading, Problem } from '../../ui/basics.tsx';
import { Segments, Select, TextField } from '../../ui/forms.tsx';
import { type ActProps, type Conversion, moneyEffect, OrderAct } from './order-act.tsx';

/** States of an order that is credited to no partner and can be. */
export const CREDITABLE: ReadonlySet<Conversion['state']> = new Set([
  'received',
  'awaiting_click',
  'unattributed',
]);

/** Credits an order to a link or a partner that no click and no coupon credited. */
export function Credit(props: ActProps) {
  const { program } = useSession();
  const { data, error } = useData(
    async (signal) => {
      const page = (cursor: string | undefined) => ({
        params: { query: { program_id: program.id, cursor, limit: 500 } },
        signal,
      });
      const [affiliates, campaigns] = await Promise.all([
        takeAll((cursor) => api.GET('/v1/affiliates', page(cursor))),
        takeAll((cursor) => api.GET('/v1/campaigns', page(cursor))),
      ]);
      return { affiliates: affiliates.filter(({ status }) => status !== 'terminated'), campaigns };
    },
    [program.id],
  );
  if (!data) return error === undefined ? <Loading /> : <Problem error={error} />;
  return <CreditForm {...props} {...data} />;
}

const TO = [
  { value: 'partner', text: t('credit.a_partner') },
  { value: 'link', text: t('credit.a_link') },
];

function CreditForm({
  conversion,
  amounts: { left },
  affiliates,
  campaigns,
  ...rest
}: ActProps & {
  affiliates: readonly Schemas['Affiliate'][];
  campaigns: readonly Schemas['Campaign'][];
}) {
  const [to, setTo] = useState('partner');
  const [code, setCode] = useState('');
  const [affiliate, setAffiliate] = useState(affiliates[0]?.id ?? '');
  const [campaign, setCampaign] = useState(campaigns[0]?.id ?? '');
  const name = affiliates.find(({ id }) => id === affiliate)?.name ?? affiliate;
  return (
    <OrderAct
      {...rest}
      submit={t('credit.credit_the_order')}
      kind="primary"
      effects={[
        {
          of: t('credit.credited_to'),
          before: t('common.none_given'),
          after: to === 'link' ? t('credit.the_partner_of_link_code', { code }) : name,
        },
        moneyEffect(t('common.earns_by'), { ...left, amount: '0' }, left),
      ]}
      hint={t('credit.the_terms_of_the_time')}
      fields={['affiliate_id', 'campaign_id', 'link_code']}
      act={async (header, note) => {
        const target =
          to === 'link' ? { link_code: code.trim() } : { affiliate_id: affiliate, campaign_id: campaign };
        const params = { path: { id: conversion.id }, header };
        return await take(api.POST('/v1/conversions/{id}/attribute', { params, body: { ...target, note } }));
      }}
    >
      {(faults) => (
        <>
          <Segments label={t('credit.credited_to')} value={to} onChange={setTo} choices={TO} />
          {to === 'link' ? (
            <TextField
              label={t('credit.code_of_the_link')}
              value={code}
              onChange={setCode}
              fault={faults.link_code}
              hint={t('credit.its_partner_and_its_campaign')}
              required
            />
          ) : (
            <div class="form-row">
              <Select
                label={t('common.partner')}
                value={affiliate}
                onChange={setAffiliate}
                fault={faults.affiliate_id}
                choices={affiliates.map(({ id, name: text }) => ({ value: id, text }))}
              />
              <Select
                label={t('common.campaign')}
                value={campaign}
                onChange={setCampaign}
                fault={faults.campaign_id}
                choices={campaigns.map(({ id, name: text }) => ({ value: id, text }))}
              />
            </div>
          )}
        </>
      )}
    </OrderAct>
  );
}
