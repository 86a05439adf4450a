import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeAll } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Loading, Problem } from '../../ui/basics.tsx';
import { Form, Select, TextArea } from '../../ui/forms.tsx';

type Conversion = Schemas['Conversion'];

/** States of an order that is credited to no partner and can be. */
export const CREDITABLE: ReadonlySet<Conversion['state']> = new Set([
  'received',
  'awaiting_click',
  'unattributed',
]);

interface CreditProps {
  readonly conversion: Conversion;
  readonly onCancel: () => void;
  readonly onDone: (conversion: Conversion) => void;
}

/** Credits an order to a partner that no click and no coupon credited. */
export function Credit(props: CreditProps) {
  const { program } = useSession();
  const { data, error } = useData(
    async (signal) => {
      const page = (cursor: string | undefined) => ({
        params: { query: { program_id: program.id, cursor, limit: '500' } },
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

function CreditForm({
  conversion,
  affiliates,
  campaigns,
  onCancel,
  onDone,
}: CreditProps & {
  affiliates: readonly Schemas['Affiliate'][];
  campaigns: readonly Schemas['Campaign'][];
}) {
  const [attempt] = useState(newAttempt);
  const [affiliate, setAffiliate] = useState('');
  const [campaign, setCampaign] = useState(campaigns[0]?.id ?? '');
  const [note, setNote] = useState('');
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: conversion.id }, header: attempt };
    const body = { affiliate_id: affiliate, campaign_id: campaign, note };
    onDone(await take(api.POST('/v1/conversions/{id}/attribute', { params, body })));
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.affiliate_id !== undefined || faults.campaign_id !== undefined;
  return (
    <Form
      submit="Credit the order"
      busy={busy}
      error={isOnFields ? undefined : error}
      onSubmit={() => void run()}
      onCancel={onCancel}
    >
      <div class="form-row">
        <Select
          label="Partner"
          value={affiliate}
          onChange={setAffiliate}
          fault={faults.affiliate_id}
          choices={[
            { value: '', text: 'Choose a partner' },
            ...affiliates.map(({ id, name }) => ({ value: id, text: name })),
          ]}
        />
        <Select
          label="Campaign"
          value={campaign}
          onChange={setCampaign}
          fault={faults.campaign_id}
          choices={campaigns.map(({ id, name }) => ({ value: id, text: name }))}
        />
      </div>
      <TextArea
        label="Reason"
        rows={2}
        value={note}
        onChange={setNote}
        hint="Stored with the decision and in the audit log. The terms of the time of the order count, for all levels."
        required
      />
    </Form>
  );
}
