import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Link } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeAll } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { type List, useList } from '../../data/use-list.ts';
import { localTime, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Copy, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { namesOf } from '../../ui/list-tools.tsx';
import { CouponStatus } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';

type Coupon = Schemas['Coupon'];

const FILTERS = ['affiliate_id', 'campaign_id'];

interface Parties {
  readonly affiliates: readonly Schemas['Affiliate'][];
  readonly campaigns: readonly Schemas['Campaign'][];
}

/** Coupon codes of the program's partners. */
export function CouponsPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<Coupon | 'new'>();
  const list = useList((query, signal) => api.GET('/v1/coupons', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: FILTERS,
  });
  const parties = useParties();
  const newCode = (
    <Button kind="primary" onClick={() => setShown('new')}>
      {t('coupons.new_code')}
    </Button>
  );
  const close = () => setShown(undefined);
  const done = () => {
    close();
    list.reload();
  };
  return (
    <Page
      title={t('common.coupon_codes')}
      lead={t('coupons.an_order_with_the_code')}
      actions={
        <>
          <Link class="button" to="/reports?by=coupon">
            {t('coupons.orders_by_code')}
          </Link>
          {newCode}
        </>
      }
    >
      <Card>
        <CouponTable list={list} parties={parties} newCode={newCode} onEdit={setShown} />
      </Card>
      {shown === 'new' && parties && <NewCoupon {...parties} onClose={close} onMade={done} />}
      {shown !== undefined && shown !== 'new' && <EditCoupon coupon={shown} onClose={close} onDone={done} />}
    </Page>
  );
}

function useParties(): Parties | undefined {
  const { program } = useSession();
  const { data } = useData(
    async (signal) => {
      const page = (cursor: string | undefined) => ({
        params: { query: { program_id: program.id, cursor, limit: 500 } },
        signal,
      });
      const [affiliates, campaigns] = await Promise.all([
        takeAll((cursor) => api.GET('/v1/affiliates', page(cursor))),
        takeAll((cursor) => api.GET('/v1/campaigns', page(cursor))),
      ]);
      return { affiliates, campaigns };
    },
    [program.id],
  );
  return data;
}

function CouponTable(props: {
  list: List<Coupon>;
  parties: Parties | undefined;
  newCode: ComponentChildren;
  onEdit: (coupon: Coupon) => void;
}) {
  const { list, parties, newCode, onEdit } = props;
  const names = new Map(
    [...(parties?.affiliates ?? []), ...(parties?.campaigns ?? [])].map(({ id, name }) => [id, name]),
  );
  const tools = {
    search: t('list.code_or_partner'),
    filters: [
      { name: 'affiliate_id', label: t('common.partner'), choices: namesOf(parties?.affiliates) },
      { name: 'campaign_id', label: t('common.campaign'), choices: namesOf(parties?.campaigns) },
    ],
    days: true,
    file: '/v1/coupons.csv',
  };
  return (
    <ListTable
      label={t('common.coupon_codes')}
      list={list}
      tools={tools}
      rowKey={({ id }) => id}
      empty={
        <Empty title={t('coupons.no_codes')}>
          {rich('coupons.newcode_or_import_existing_ones', {
            newCode,
            link: (text) => <Link to="/imports">{text}</Link>,
          })}
        </Empty>
      }
      columns={[
        {
          title: t('common.code'),
          head: true,
          sort: 'code',
          cell: ({ code, id }) => (
            <>
              {code}
              <span class="sub">{id}</span>
            </>
          ),
        },
        {
          title: t('common.partner'),
          sort: 'affiliate',
          cell: ({ affiliate_id }) => names.get(affiliate_id) ?? affiliate_id,
        },
        { title: t('common.campaign'), cell: ({ campaign_id }) => names.get(campaign_id) ?? campaign_id },
        {
          title: t('coupons.from_zone', { zone: ZONE_NAME }),
          cell: ({ valid_from }) => <When at={valid_from} none={t('coupons.always')} />,
        },
        {
          title: t('common.until_zone', { zone: ZONE_NAME }),
          cell: ({ valid_until, withdrawn_at }) => (
            <When at={withdrawn_at ?? valid_until} none={t('common.no_end')} />
          ),
        },
        { title: t('common.status'), cell: (coupon) => <CouponStatus coupon={coupon} /> },
        {
          title: '',
          cell: (coupon) => (
            <div class="actions">
              <Copy text={coupon.code} label={t('common.the_code_code', { code: coupon.code })} />
              {coupon.withdrawn_at === null && (
                <Button onClick={() => onEdit(coupon)} label={t('common.edit_code', { code: coupon.code })}>
                  {t('common.edit')}
                </Button>
              )}
            </div>
          ),
        },
      ]}
    />
  );
}

function NewCoupon({
  affiliates,
  campaigns,
  onClose,
  onMade,
}: Parties & { onClose: () => void; onMade: () => void }) {
  const open = campaigns.filter(({ status }) => status !== 'ended');
  const partners = affiliates.filter(({ status }) => status !== 'terminated');
  const [attempt] = useState(newAttempt);
  const [affiliate, setAffiliate] = useState(partners[0]?.id ?? '');
  const [campaign, setCampaign] = useState(open[0]?.id ?? '');
  const [code, setCode] = useState('');
  const [until, setUntil] = useState('');
  const { run, busy, error } = useAction(async () => {
    const body = {
      affiliate_id: affiliate,
      campaign_id: campaign,
      code,
      ...(until !== '' && { valid_until: new Date(until).toISOString() }),
    };
    await take(api.POST('/v1/coupons', { params: { header: attempt }, body }));
    onMade();
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.code !== undefined || faults.valid_until !== undefined;
  if (partners.length === 0 || open.length === 0) {
    return (
      <Dialog title={t('coupons.new_code')} onClose={onClose}>
        <Empty title={t('coupons.nothing_to_give_a_code')}>{t('coupons.a_code_needs_a_partner')}</Empty>
      </Dialog>
    );
  }
  return (
    <Dialog title={t('coupons.new_code')} onClose={onClose}>
      <Form
        submit={t('coupons.create_code')}
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <div class="form-row">
          <Select
            label={t('common.partner')}
            value={affiliate}
            onChange={setAffiliate}
            choices={partners.map(({ id, name }) => ({ value: id, text: name }))}
          />
          <Select
            label={t('common.campaign')}
            value={campaign}
            onChange={setCampaign}
            choices={open.map(({ id, name }) => ({ value: id, text: name }))}
            hint={t('coupons.its_terms_count')}
          />
        </div>
        <div class="form-row">
          <TextField
            label={t('common.code')}
            value={code}
            onChange={setCode}
            fault={faults.code}
            hint={t('coupons.as_in_the_shop_it')}
            max={64}
            required
          />
          <UntilField value={until} onChange={setUntil} fault={faults.valid_until} />
        </div>
      </Form>
    </Dialog>
  );
}

function UntilField(props: { value: string; onChange: (value: string) => void; fault: string | undefined }) {
  return (
    <TextField
      label={t('coupons.valid_until_zone', { zone: ZONE_NAME })}
      type="datetime-local"
      hint={t('coupons.optional_orders_of_before_keep')}
      {...props}
    />
  );
}

function EditCoupon({
  coupon,
  onClose,
  onDone,
}: {
  coupon: Coupon;
  onClose: () => void;
  onDone: () => void;
}) {
  const [until, setUntil] = useState(localTime(coupon.valid_until));
  const params = { path: { id: coupon.id } };
  const change = useAction(async () => {
    const body = { valid_until: until === '' ? null : new Date(until).toISOString() };
    await take(api.PATCH('/v1/coupons/{id}', { params, body }));
    onDone();
  });
  const withdraw = useAction(async () => {
    await take(api.POST('/v1/coupons/{id}/withdraw', { params }));
    onDone();
  });
  const faults = fieldProblems(change.error);
  return (
    <Dialog title={t('coupons.code_code', { code: coupon.code })} onClose={onClose}>
      <div class="stack">
        <Form
          submit={t('common.save')}
          busy={change.busy}
          error={faults.valid_until ? undefined : change.error}
          onSubmit={() => void change.run()}
        >
          <UntilField value={until} onChange={setUntil} fault={faults.valid_until} />
        </Form>
        <Problem error={withdraw.error} />
        <div class="form-end">
          <p class="hint">{t('coupons.withdrawn_it_credits_no_further')}</p>
          <Button kind="danger" busy={withdraw.busy} onClick={() => void withdraw.run()}>
            {t('common.withdraw')}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
