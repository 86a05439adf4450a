import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeAll, takeVersion } from '../../data/api.ts';
import { lastDays } from '../../data/period.ts';
import { type FiguresById, figure, readById } from '../../data/report.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { type List, useList } from '../../data/use-list.ts';
import { formatCount, words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, CopyText, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { namesOf } from '../../ui/list-tools.tsx';
import { LandingPage } from '../../ui/macro-url.tsx';
import { NumberField } from '../../ui/number-field.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { describeRouting, RoutingEditor, type RoutingInput } from './routing.tsx';

const EVERY_MS = 5_000;
const LINK_STATUSES = (['active', 'paused'] as const).map((value) => ({ value, text: words(value) }));
const FILTERS = ['affiliate_id', 'campaign_id', 'status'];

/** All links of the program with destinations and routing rules. */
export function LinksPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<string>();
  const list = useList((query, signal) => api.GET('/v1/links', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: FILTERS,
  });
  const context = useLinkContext();
  return (
    <Page
      title={t('common.links_and_routing')}
      lead={
        <>
          {t('common.figures_of_the_last_30')} <CompleteTo at={context?.counts.completeTo} />
        </>
      }
    >
      <Card>
        <LinkTable list={list} context={context} onEdit={setShown} />
      </Card>
      {shown && (
        <EditLink
          id={shown}
          onClose={() => setShown(undefined)}
          onDone={() => {
            setShown(undefined);
            list.reload();
          }}
        />
      )}
    </Page>
  );
}

interface LinkContext {
  readonly affiliates: readonly Schemas['Affiliate'][];
  readonly campaigns: readonly Schemas['Campaign'][];
  /** Of campaigns and affiliates, by id. */
  readonly names: ReadonlyMap<string, string>;
  /** Of the last 30 days, by link. */
  readonly counts: FiguresById;
}

/** Names and figures shown beside the links; undefined while loading. */
function useLinkContext(): LinkContext | undefined {
  const { program } = useSession();
  const { data } = useData(
    async (signal) => {
      const program_id = program.id;
      const page = (cursor: string | undefined) => ({
        params: { query: { program_id, cursor, limit: 500 } },
        signal,
      });
      const metrics = ['clicks', 'conversions_attributed'];
      const [campaigns, affiliates, counts] = await Promise.all([
        takeAll((cursor) => api.GET('/v1/campaigns', page(cursor))),
        takeAll((cursor) => api.GET('/v1/affiliates', page(cursor))),
        readById({ range: lastDays(30), by: 'link', metrics, program: program_id }, signal),
      ]);
      return {
        affiliates,
        campaigns,
        names: new Map([...campaigns, ...affiliates].map(({ id, name }) => [id, name])),
        counts,
      };
    },
    [program.id],
    { everyMs: EVERY_MS },
  );
  return data;
}

function LinkTable(props: {
  list: List<Schemas['Link']>;
  context: LinkContext | undefined;
  onEdit: (id: string) => void;
}) {
  const { list, context, onEdit } = props;
  const nameOf = (id: string) => context?.names.get(id) ?? id;
  const tools = {
    search: t('list.code_or_address'),
    filters: [
      { name: 'affiliate_id', label: t('common.partner'), choices: namesOf(context?.affiliates) },
      { name: 'campaign_id', label: t('common.campaign'), choices: namesOf(context?.campaigns) },
      { name: 'status', label: t('common.status'), choices: LINK_STATUSES },
    ],
    days: true,
    file: '/v1/links.csv',
  };
  return (
    <ListTable
      label={t('common.links')}
      list={list}
      tools={tools}
      rowKey={({ id }) => id}
      empty={<Empty title={t('links.no_links')}>{t('links.active_partners_create_links_as')}</Empty>}
      columns={[
        {
          title: t('common.link'),
          head: true,
          sort: 'code',
          cell: ({ code, landing_url }) => (
            <>
              {code}
              <span class="sub cut" title={landing_url}>
                {landing_url}
              </span>
            </>
          ),
        },
        { title: t('common.partner'), sort: 'affiliate', cell: ({ affiliate_id }) => nameOf(affiliate_id) },
        { title: t('common.campaign'), cell: ({ campaign_id }) => nameOf(campaign_id) },
        { title: t('common.routing'), cell: ({ routing }) => describeRouting(routing) },
        {
          title: t('common.clicks'),
          numeric: true,
          cell: ({ id }) => formatCount(figure(context?.counts.of(id), 'clicks')),
        },
        {
          title: t('common.credited'),
          numeric: true,
          cell: ({ id }) => formatCount(figure(context?.counts.of(id), 'conversions_attributed')),
        },
        { title: t('common.status'), sort: 'status', cell: ({ status }) => <Status of={status} /> },
        {
          title: '',
          cell: ({ id, code }) => (
            <div class="actions">
              <Button onClick={() => onEdit(id)} label={t('common.edit_code', { code })}>
                {t('common.edit')}
              </Button>
            </div>
          ),
        },
      ]}
    />
  );
}

function EditLink(props: { id: string; onClose: () => void; onDone: () => void }) {
  const params = { path: { id: props.id } };
  const { data, error } = useData(
    async (signal) => await takeVersion(api.GET('/v1/links/{id}', { params, signal })),
    [props.id],
  );
  return (
    <Dialog title={data?.data.code ?? t('common.link')} onClose={props.onClose}>
      <Problem error={error} />
      {!data && error === undefined && <Loading />}
      {data && <EditForm link={data.data} etag={data.etag} onDone={props.onDone} />}
    </Dialog>
  );
}

function EditForm({ link, etag, onDone }: { link: Schemas['Link']; etag: string; onDone: () => void }) {
  const [landingUrl, setLandingUrl] = useState(link.landing_url);
  const [status, setStatus] = useState(link.status);
  const [cap, setCap] = useState(link.daily_click_cap === null ? '' : String(link.daily_click_cap));
  const [passed, setPassed] = useState(link.pass_parameters?.join(' ') ?? '');
  const [routing, setRouting] = useState<RoutingInput | null>(link.routing);
  const { run, busy, error } = useAction(async () => {
    const body = {
      landing_url: landingUrl,
      status,
      daily_click_cap: cap === '' ? null : Number(cap),
      pass_parameters: passed.trim() === '' ? null : passed.trim().split(/[\s,]+/),
      routing,
    };
    const params = { path: { id: link.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/links/{id}', { params, body }));
    onDone();
  });
  const faults = fieldProblems(error);
  return (
    <Form
      submit={t('common.save')}
      busy={busy}
      error={faults.landing_url ? undefined : error}
      onSubmit={() => void run()}
    >
      <CopyText text={link.url} label={t('common.the_link')} />
      <LandingPage value={landingUrl} onChange={setLandingUrl} fault={faults.landing_url} />
      <div class="form-row">
        <Select
          label={t('common.status')}
          value={status}
          onChange={(value) => setStatus(value as typeof status)}
          choices={[
            { value: 'active', text: t('common.active') },
            { value: 'paused', text: t('links.paused') },
          ]}
        />
        <NumberField
          label={t('common.daily_cap_of_valid_clicks')}
          whole
          value={cap}
          onChange={setCap}
          fault={faults.daily_click_cap}
          placeholder={t('common.no_cap')}
        />
      </div>
      <TextField
        label={t('links.parameters_passed_on_to_the')}
        hint={t('links.names_such_as_gclid_fbclid')}
        value={passed}
        onChange={setPassed}
        fault={Object.entries(faults).find(([field]) => field.startsWith('pass_parameters'))?.[1]}
      />
      <RoutingEditor routing={routing} onChange={setRouting} />
      <p class="hint">
        {link.expires_at === null
          ? rich('links.created', { created: <When at={link.created_at} />, zone: ZONE_NAME })
          : rich('links.created_and_expires', {
              created: <When at={link.created_at} />,
              zone: ZONE_NAME,
              expires: <When at={link.expires_at} />,
            })}
      </p>
    </Form>
  );
}
