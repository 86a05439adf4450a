import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Link, useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeAll } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { localTime, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, Copy, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { CouponStatus } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';

type Coupon = Schemas['Coupon'];

const PAGE_ROWS = 50;

interface Parties {
  readonly affiliates: readonly Schemas['Affiliate'][];
  readonly campaigns: readonly Schemas['Campaign'][];
}

/** Coupon codes of the program's partners. */
export function CouponsPage() {
  const { program } = useSession();
  const [affiliate, setAffiliate] = useParameter('affiliate');
  const [code, setCode] = useParameter('code');
  const [shown, setShown] = useState<Coupon | 'new'>();
  const list = usePages(
    (cursor, signal) => {
      const query = {
        program_id: program.id,
        limit: PAGE_ROWS,
        cursor,
        ...(affiliate !== '' && { affiliate_id: affiliate }),
        ...(code.trim() !== '' && { code }),
      };
      return api.GET('/v1/coupons', { params: { query }, signal });
    },
    [program.id, affiliate, code],
  );
  const parties = useParties();
  const affiliates = parties?.affiliates ?? [];
  const newCode = (
    <Button kind="primary" onClick={() => setShown('new')}>
      New code
    </Button>
  );
  const close = () => setShown(undefined);
  const done = () => {
    close();
    list.reload();
  };
  return (
    <Page
      title="Coupon codes"
      lead="An order with the code of a partner is credited to that partner, without a click."
      actions={
        <>
          <Link class="button" to="/reports?by=coupon">
            Orders by code
          </Link>
          {newCode}
        </>
      }
    >
      <Card>
        <div class="filters above">
          <Select
            label="Partner"
            value={affiliate}
            onChange={setAffiliate}
            choices={[
              { value: '', text: 'All partners' },
              ...affiliates.map(({ id, name }) => ({ value: id, text: name })),
            ]}
          />
          <TextField label="Code" type="search" value={code} onChange={setCode} placeholder="whole code" />
        </div>
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
  list: ReturnType<typeof usePages<Coupon>>;
  parties: Parties | undefined;
  newCode: ComponentChildren;
  onEdit: (coupon: Coupon) => void;
}) {
  const { list, parties, newCode, onEdit } = props;
  const names = new Map(
    [...(parties?.affiliates ?? []), ...(parties?.campaigns ?? [])].map(({ id, name }) => [id, name]),
  );
  return (
    <ListTable
      label="Coupon codes"
      list={list}
      rowKey={({ id }) => id}
      empty={
        <Empty title="No codes">
          {newCode} or <Link to="/imports">import</Link> existing ones. The shop reports the codes that a
          customer used with the order.
        </Empty>
      }
      columns={[
        {
          title: 'Code',
          head: true,
          cell: ({ code, id }) => (
            <>
              {code}
              <span class="sub">{id}</span>
            </>
          ),
        },
        { title: 'Partner', cell: ({ affiliate_id }) => names.get(affiliate_id) ?? affiliate_id },
        { title: 'Campaign', cell: ({ campaign_id }) => names.get(campaign_id) ?? campaign_id },
        { title: `From (${ZONE_NAME})`, cell: ({ valid_from }) => <When at={valid_from} none="always" /> },
        {
          title: `Until (${ZONE_NAME})`,
          cell: ({ valid_until, withdrawn_at }) => <When at={withdrawn_at ?? valid_until} none="no end" />,
        },
        { title: 'Status', cell: (coupon) => <CouponStatus coupon={coupon} /> },
        {
          title: '',
          cell: (coupon) => (
            <div class="actions">
              <Copy text={coupon.code} label={`the code ${coupon.code}`} />
              {coupon.withdrawn_at === null && (
                <Button onClick={() => onEdit(coupon)} label={`Edit ${coupon.code}`}>
                  Edit
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
      <Dialog title="New code" onClose={onClose}>
        <Empty title="Nothing to give a code for">A code needs a partner and a campaign.</Empty>
      </Dialog>
    );
  }
  return (
    <Dialog title="New code" onClose={onClose}>
      <Form
        submit="Create code"
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <div class="form-row">
          <Select
            label="Partner"
            value={affiliate}
            onChange={setAffiliate}
            choices={partners.map(({ id, name }) => ({ value: id, text: name }))}
          />
          <Select
            label="Campaign"
            value={campaign}
            onChange={setCampaign}
            choices={open.map(({ id, name }) => ({ value: id, text: name }))}
            hint="Its terms count."
          />
        </div>
        <div class="form-row">
          <TextField
            label="Code"
            value={code}
            onChange={setCode}
            fault={faults.code}
            hint="As in the shop; it is the same in any case."
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
      label={`Valid until, ${ZONE_NAME}`}
      type="datetime-local"
      hint="Optional. Orders of before keep their credit."
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
    <Dialog title={`Code ${coupon.code}`} onClose={onClose}>
      <div class="stack">
        <Form
          submit="Save"
          busy={change.busy}
          error={faults.valid_until ? undefined : change.error}
          onSubmit={() => void change.run()}
        >
          <UntilField value={until} onChange={setUntil} fault={faults.valid_until} />
        </Form>
        <Problem error={withdraw.error} />
        <div class="form-end">
          <p class="hint">Withdrawn, it credits no further orders, and can be given to another partner.</p>
          <Button kind="danger" busy={withdraw.busy} onClick={() => void withdraw.run()}>
            Withdraw
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
