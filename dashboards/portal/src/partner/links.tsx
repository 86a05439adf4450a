import { useState } from 'preact/hooks';
import { usePartner } from '../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeAll } from '../data/api.ts';
import { lastDays } from '../data/period.ts';
import { figure, readById } from '../data/report.ts';
import { useAction, useData } from '../data/use-data.ts';
import { useList } from '../data/use-list.ts';
import { formatCount, words } from '../text/format.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
import { Button, Card, Copy, Empty, Page } from '../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../ui/forms.tsx';
import { CompleteTo } from '../ui/freshness.tsx';
import { LinkSharing } from '../ui/link-sharing.tsx';
import { namesOf } from '../ui/list-tools.tsx';
import { LandingPage } from '../ui/macro-url.tsx';
import { Status } from '../ui/status.tsx';
import { ListTable } from '../ui/table.tsx';
import { CouponsCard } from './coupons.tsx';

const EVERY_MS = 5_000;
const FILTERS = ['campaign_id', 'status'];
const STATUSES = (['active', 'paused'] as const).map((value) => ({ value, text: words(value) }));

export function LinksPage() {
  const { affiliateId, program } = usePartner();
  const [shown, setShown] = useState<Schemas['Link'] | 'new'>();
  const links = useList((query, signal) => api.GET('/v1/links', { params: { query }, signal }), {
    query: { affiliate_id: affiliateId },
    filters: FILTERS,
  });
  const offer = useData(
    async (signal) => {
      const query = { program_id: program.id };
      const campaigns = await takeAll((cursor) =>
        api.GET('/v1/campaigns', { params: { query: { ...query, cursor } }, signal }),
      );
      const templates = await takeAll((cursor) =>
        api.GET('/v1/link-templates', { params: { query: { ...query, cursor } }, signal }),
      );
      return { campaigns, templates };
    },
    [program.id],
  );
  const counts = useData(
    (signal) =>
      readById({ range: lastDays(30), by: 'link', metrics: ['clicks', 'conversions_attributed'] }, signal),
    [],
    { everyMs: EVERY_MS },
  );
  const names = new Map(offer.data?.campaigns.map(({ id, name }) => [id, name]));
  const newLink = (
    <Button kind="primary" onClick={() => setShown('new')}>
      {t('partnerLinks.new_link')}
    </Button>
  );
  return (
    <Page title={t('common.links')} lead={t('partnerLinks.share_these_links_in_place')} actions={newLink}>
      <Card
        title={t('partnerLinks.your_links')}
        note={
          <>
            {t('common.figures_of_the_last_30')} <CompleteTo at={counts.data?.completeTo} />
          </>
        }
      >
        <ListTable
          label={t('common.links')}
          list={links}
          tools={toolsOf(offer.data?.campaigns)}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('partnerLinks.no_links_yet')}>
              {t('partnerLinks.a_link_belongs_to_a')} {newLink}
            </Empty>
          }
          columns={[
            {
              title: t('common.link'),
              head: true,
              sort: 'code',
              cell: (link) => (
                <>
                  {link.code}
                  <span class="sub cut" title={link.landing_url}>
                    {link.landing_url}
                  </span>
                </>
              ),
            },
            { title: t('common.campaign'), cell: ({ campaign_id }) => names.get(campaign_id) ?? campaign_id },
            {
              title: t('common.clicks'),
              numeric: true,
              cell: ({ id }) => formatCount(figure(counts.data?.of(id), 'clicks')),
            },
            {
              title: t('common.conversions'),
              numeric: true,
              cell: ({ id }) => formatCount(figure(counts.data?.of(id), 'conversions_attributed')),
            },
            { title: t('common.status'), sort: 'status', cell: ({ status }) => <Status of={status} /> },
            {
              title: '',
              cell: (link) => (
                <div class="actions">
                  <Copy text={link.url} label={t('partnerLinks.the_link_code', { code: link.code })} />
                  <Button
                    onClick={() => setShown(link)}
                    label={t('partnerLinks.share_code', { code: link.code })}
                  >
                    {t('partnerLinks.share')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      <CouponsCard campaigns={names} />
      {shown === 'new' && offer.data && (
        <NewLink
          {...offer.data}
          onClose={() => setShown(undefined)}
          onMade={(link) => {
            links.reload();
            setShown(link);
          }}
        />
      )}
      {shown !== undefined && shown !== 'new' && (
        <Dialog
          key={shown.id}
          title={t('partnerLinks.share_code', { code: shown.code })}
          onClose={() => setShown(undefined)}
        >
          <LinkSharing link={shown} />
        </Dialog>
      )}
    </Page>
  );
}

function toolsOf(campaigns: readonly Schemas['Campaign'][] | undefined) {
  return {
    search: t('list.code_or_address'),
    filters: [
      { name: 'campaign_id', label: t('common.campaign'), choices: namesOf(campaigns) },
      { name: 'status', label: t('common.status'), choices: STATUSES },
    ],
    days: true,
    file: '/v1/links.csv',
  };
}

function NewLink(props: {
  campaigns: readonly Schemas['Campaign'][];
  templates: readonly Schemas['LinkTemplate'][];
  onClose: () => void;
  onMade: (link: Schemas['Link']) => void;
}) {
  const open = props.campaigns.filter(({ status }) => status === 'active');
  const [attempt] = useState(newAttempt);
  const [campaign, setCampaign] = useState(open[0]?.id ?? '');
  const [landingUrl, setLandingUrl] = useState(open[0]?.landing_url ?? '');
  const [code, setCode] = useState('');
  const { run, busy, error } = useAction(async () => {
    const body = { campaign_id: campaign, landing_url: landingUrl, ...(code !== '' && { code }) };
    props.onMade(await take(api.POST('/v1/links', { body, params: { header: attempt } })));
  });
  const faults = fieldProblems(error);
  const templates = props.templates.filter(({ campaign_id }) => campaign_id === campaign);
  const isOnFields = Object.keys(faults).some((field) => ['landing_url', 'code'].includes(field));
  if (open.length === 0) {
    return (
      <Dialog title={t('partnerLinks.new_link')} onClose={props.onClose}>
        <Empty title={t('partnerLinks.no_active_campaign')}>
          {t('partnerLinks.you_can_create_links_as')}
        </Empty>
      </Dialog>
    );
  }
  return (
    <Dialog title={t('partnerLinks.new_link')} onClose={props.onClose}>
      <Form
        submit={t('partnerLinks.create_link')}
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <Select
          label={t('common.campaign')}
          value={campaign}
          onChange={(id) => {
            setCampaign(id);
            setLandingUrl(open.find((one) => one.id === id)?.landing_url ?? '');
          }}
          choices={open.map(({ id, name }) => ({ value: id, text: name }))}
        />
        {templates.length > 0 && (
          <Select
            label={t('partnerLinks.shop_page')}
            value={templates.find((one) => one.landing_url === landingUrl)?.id ?? ''}
            onChange={(id) => setLandingUrl(templates.find((one) => one.id === id)?.landing_url ?? '')}
            choices={[
              { value: '', text: t('partnerLinks.another_page') },
              ...templates.map(({ id, name }) => ({ value: id, text: name })),
            ]}
          />
        )}
        <LandingPage value={landingUrl} onChange={setLandingUrl} fault={faults.landing_url} />
        <TextField
          label={t('common.code')}
          value={code}
          onChange={setCode}
          fault={faults.code}
          hint={t('partnerLinks.optional_letters_digits_and_dashes')}
        />
      </Form>
    </Dialog>
  );
}
