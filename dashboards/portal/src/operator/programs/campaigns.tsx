import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeVersion } from '../../data/api.ts';
import { lastDays } from '../../data/period.ts';
import { figure, ratio, readById } from '../../data/report.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { formatCount, formatMinor, formatShare, localTime, words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { NumberField } from '../../ui/number-field.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';

type Campaign = Schemas['Campaign'];

const METRICS = ['clicks', 'conversions_attributed', 'conversion_rate', 'revenue_minor', 'commission_minor'];
const EVERY_MS = 5_000;
const STATUSES = (['active', 'paused', 'ended'] as const).map((value) => ({ value, text: words(value) }));
const TOOLS = {
  search: t('list.name_or_address_of_page'),
  filters: [{ name: 'status', label: t('common.status'), choices: STATUSES }],
  days: true,
  file: '/v1/campaigns.csv',
};

export function CampaignsPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<Campaign | 'new'>();
  const list = useList((query, signal) => api.GET('/v1/campaigns', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: ['status'],
  });
  const { data: figures } = useData(
    (signal) =>
      readById({ range: lastDays(30), by: 'campaign', metrics: METRICS, program: program.id }, signal),
    [program.id],
    { everyMs: EVERY_MS },
  );
  const done = () => {
    setShown(undefined);
    list.reload();
  };
  const make = (
    <Button kind="primary" onClick={() => setShown('new')}>
      {t('campaigns.new_campaign')}
    </Button>
  );
  const money = (id: string, metric: string) =>
    formatMinor(figure(figures?.of(id), metric), program.currency);
  return (
    <Page title={t('common.campaigns')} lead={t('campaigns.each_link_belongs_to_a')} actions={make}>
      <Card
        title={t('common.campaigns')}
        note={
          <>
            {t('common.figures_of_the_last_30')} <CompleteTo at={figures?.completeTo} />
          </>
        }
      >
        <ListTable
          label={t('common.campaigns')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('campaigns.no_campaigns_yet')}>
              {t('campaigns.partners_need_a_campaign_to')} {make}
            </Empty>
          }
          columns={[
            {
              title: t('common.campaign'),
              head: true,
              sort: 'name',
              cell: ({ name, id }) => (
                <>
                  {name}
                  <span class="sub">{id}</span>
                </>
              ),
            },
            { title: t('common.status'), sort: 'status', cell: ({ status }) => <Status of={status} /> },
            {
              title: t('campaigns.ends_zone', { zone: ZONE_NAME }),
              cell: ({ ends_at }) => <When at={ends_at} none={t('common.no_limit')} />,
            },
            {
              title: t('common.clicks'),
              numeric: true,
              cell: ({ id }) => formatCount(figure(figures?.of(id), 'clicks')),
            },
            {
              title: t('common.credited'),
              numeric: true,
              cell: ({ id }) => formatCount(figure(figures?.of(id), 'conversions_attributed')),
            },
            {
              title: t('common.rate'),
              numeric: true,
              cell: ({ id }) => formatShare(ratio(figures?.of(id), 'conversion_rate')),
            },
            { title: t('common.order_value'), numeric: true, cell: ({ id }) => money(id, 'revenue_minor') },
            {
              title: t('common.commissions'),
              numeric: true,
              cell: ({ id }) => money(id, 'commission_minor'),
            },
            {
              title: '',
              cell: (campaign) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(campaign)}
                    label={t('campaigns.edit_campaign', { campaign: campaign.name })}
                  >
                    {t('common.edit')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown === 'new' && <NewCampaign onClose={() => setShown(undefined)} onDone={done} />}
      {shown !== undefined && shown !== 'new' && (
        <EditCampaign id={shown.id} onClose={() => setShown(undefined)} onDone={done} />
      )}
    </Page>
  );
}

interface Fields {
  readonly name: string;
  readonly status: Campaign['status'];
  readonly cookieDays: string;
  readonly cap: string;
  readonly landingUrl: string;
  /** Separated by spaces or commas. */
  readonly allowedHosts: string;
  readonly fallbackUrl: string;
  readonly endsAt: string;
}

function CampaignFields(props: {
  fields: Fields;
  faults: Readonly<Record<string, string>>;
  onChange: (fields: Fields) => void;
  withStatus: boolean;
}) {
  const { fields, faults, onChange } = props;
  const set = (name: keyof Fields) => (value: string) => onChange({ ...fields, [name]: value });
  const hostsFault = Object.entries(faults).find(([field]) => field.startsWith('allowed_hosts'))?.[1];
  return (
    <>
      <TextField
        label={t('common.name')}
        value={fields.name}
        onChange={set('name')}
        fault={faults.name}
        required
      />
      {props.withStatus && (
        <Select
          label={t('common.status')}
          value={fields.status}
          onChange={set('status')}
          choices={[
            { value: 'active', text: t('common.active') },
            { value: 'paused', text: t('campaigns.paused_visitors_go_to_the') },
            { value: 'ended', text: t('campaigns.ended') },
          ]}
        />
      )}
      <div class="form-row">
        <NumberField
          label={t('campaigns.cookie_lifetime_days')}
          whole
          value={fields.cookieDays}
          onChange={set('cookieDays')}
          fault={faults.cookie_days}
        />
        <NumberField
          label={t('common.daily_cap_of_valid_clicks')}
          whole
          value={fields.cap}
          onChange={set('cap')}
          fault={faults.daily_click_cap}
          placeholder={t('common.no_cap')}
        />
      </div>
      <TextField
        label={t('common.landing_page')}
        type="url"
        value={fields.landingUrl}
        onChange={set('landingUrl')}
        fault={faults.landing_url}
        hint={t('campaigns.the_page_that_is_advertised')}
      />
      <TextField
        label={t('campaigns.further_hosts_of_links')}
        value={fields.allowedHosts}
        onChange={set('allowedHosts')}
        fault={hostsFault}
        placeholder={t('common.none_given')}
        hint={t('campaigns.separated_by_spaces_shop_example')}
      />
      <TextField
        label={t('campaigns.fallback_url')}
        type="url"
        value={fields.fallbackUrl}
        onChange={set('fallbackUrl')}
        fault={faults.fallback_url}
        hint={t('campaigns.target_of_visitors_when_the')}
      />
      <TextField
        label={t('campaigns.ends_zone', { zone: ZONE_NAME })}
        type="datetime-local"
        value={fields.endsAt}
        onChange={set('endsAt')}
        fault={faults.ends_at}
      />
    </>
  );
}

function bodyOf({ name, cookieDays, cap, landingUrl, allowedHosts, fallbackUrl, endsAt }: Fields) {
  return {
    name,
    ...(cookieDays !== '' && { cookie_days: Number(cookieDays) }),
    daily_click_cap: cap === '' ? null : Number(cap),
    landing_url: landingUrl === '' ? null : landingUrl,
    allowed_hosts: allowedHosts.split(/[\s,]+/).filter((host) => host !== ''),
    fallback_url: fallbackUrl === '' ? null : fallbackUrl,
    ends_at: endsAt === '' ? null : new Date(endsAt).toISOString(),
  };
}

const EMPTY: Fields = {
  name: '',
  status: 'active',
  cookieDays: '30',
  cap: '',
  landingUrl: '',
  allowedHosts: '',
  fallbackUrl: '',
  endsAt: '',
};

function NewCampaign({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [fields, setFields] = useState(EMPTY);
  const { run, busy, error } = useAction(async () => {
    const body = { program_id: program.id, ...bodyOf(fields) };
    await take(api.POST('/v1/campaigns', { params: { header: attempt }, body }));
    onDone();
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title={t('campaigns.new_campaign')} onClose={onClose}>
      <Form submit={t('campaigns.create_campaign')} busy={busy} error={error} onSubmit={() => void run()}>
        <CampaignFields fields={fields} faults={faults} onChange={setFields} withStatus={false} />
      </Form>
    </Dialog>
  );
}

function EditCampaign(props: { id: string; onClose: () => void; onDone: () => void }) {
  const params = { path: { id: props.id } };
  const { data, error } = useData(
    async (signal) => await takeVersion(api.GET('/v1/campaigns/{id}', { params, signal })),
    [props.id],
  );
  return (
    <Dialog title={data?.data.name ?? t('common.campaign')} onClose={props.onClose}>
      <Problem error={error} />
      {!data && error === undefined && <Loading />}
      {data && <StrayHosts id={props.id} />}
      {data && <EditForm campaign={data.data} etag={data.etag} onDone={props.onDone} />}
    </Dialog>
  );
}

/** Links of before the hosts were set, or of a longer list, lead where they led until they are changed or paused. */
function StrayHosts({ id }: { id: string }) {
  const { data, error } = useData(
    async (signal) => await take(api.GET('/v1/campaigns/{id}/hosts', { params: { path: { id } }, signal })),
    [id],
  );
  const stray = data?.hosts.filter(({ allowed }) => !allowed) ?? [];
  if (error !== undefined) return <Problem error={error} />;
  if (stray.length === 0) return null;
  const list = stray
    .map(({ host, links }) => `${host === '?' ? t('campaigns.unreadable_host') : host} (${links})`)
    .join(', ');
  return <p class="notice warn">{t('campaigns.links_that_lead_to_hosts', { list })}</p>;
}

function EditForm({ campaign, etag, onDone }: { campaign: Campaign; etag: string; onDone: () => void }) {
  const [fields, setFields] = useState<Fields>({
    name: campaign.name,
    status: campaign.status,
    cookieDays: String(campaign.cookie_days),
    cap: campaign.daily_click_cap === null ? '' : String(campaign.daily_click_cap),
    landingUrl: campaign.landing_url ?? '',
    allowedHosts: campaign.allowed_hosts.join(' '),
    fallbackUrl: campaign.fallback_url ?? '',
    endsAt: localTime(campaign.ends_at),
  });
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: campaign.id }, header: { 'if-match': etag } };
    await take(
      api.PATCH('/v1/campaigns/{id}', { params, body: { ...bodyOf(fields), status: fields.status } }),
    );
    onDone();
  });
  return (
    <Form submit={t('common.save')} busy={busy} error={error} onSubmit={() => void run()}>
      <CampaignFields fields={fields} faults={fieldProblems(error)} onChange={setFields} withStatus />
    </Form>
  );
}
