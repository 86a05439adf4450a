import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeAll } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Problem } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { LandingPage } from '../../ui/macro-url.tsx';
import { ListTable } from '../../ui/table.tsx';

const NAMED = ['campaigns'] as const;

type Template = Schemas['LinkTemplate'];

/** Landing pages that partners make links of without typing an address. */
export function LinkTemplates() {
  const { program } = useSession();
  const [isCreating, setCreating] = useState(false);
  const names = useNames(NAMED);
  const list = useList((query, signal) => api.GET('/v1/link-templates', { params: { query }, signal }), {
    query: { program_id: program.id },
    prefix: 'template_',
  });
  return (
    <Card
      title={t('linkTemplates.link_templates')}
      note={t('linkTemplates.landing_pages_that_partners_choose')}
      actions={<Button onClick={() => setCreating(true)}>{t('linkTemplates.new_template')}</Button>}
    >
      <ListTable
        label={t('linkTemplates.link_templates')}
        list={list}
        rowKey={({ id }) => id}
        empty={
          <Empty title={t('linkTemplates.no_link_templates_yet')}>
            {t('linkTemplates.partners_type_the_address_of')}
          </Empty>
        }
        columns={[
          { title: t('common.name'), head: true, cell: ({ name }) => name },
          { title: t('common.campaign'), cell: ({ campaign_id }) => names.get(campaign_id) ?? campaign_id },
          { title: t('common.landing_page'), cell: ({ landing_url }) => <code>{landing_url}</code> },
          { title: '', cell: (template) => <Remove template={template} onDone={list.reload} /> },
        ]}
      />
      {isCreating && (
        <NewTemplate
          onClose={() => setCreating(false)}
          onMade={() => {
            setCreating(false);
            list.reload();
          }}
        />
      )}
    </Card>
  );
}

function Remove({ template, onDone }: { template: Template; onDone: () => void }) {
  const { run, busy, error } = useAction(async () => {
    await take(api.DELETE('/v1/link-templates/{id}', { params: { path: { id: template.id } } }));
    onDone();
  });
  return (
    <div class="actions">
      <Button
        onClick={() => void run()}
        busy={busy}
        label={t('linkTemplates.remove_template', { template: template.name })}
      >
        {t('common.remove')}
      </Button>
      <Problem error={error} />
    </div>
  );
}

function NewTemplate(props: { onClose: () => void; onMade: () => void }) {
  const { program } = useSession();
  const [campaign, setCampaign] = useState('');
  const [name, setName] = useState('');
  const [landing, setLanding] = useState('');
  const [header] = useState(newAttempt);
  const campaigns = useData(
    async (signal) =>
      await takeAll((cursor) =>
        api.GET('/v1/campaigns', {
          params: { query: { program_id: program.id, ...(cursor && { cursor }) } },
          signal,
        }),
      ),
    [program.id],
  );
  const campaign_id = campaign || (campaigns.data?.[0]?.id ?? '');
  const { run, busy, error } = useAction(async () => {
    const body = { campaign_id, name, landing_url: landing };
    await take(api.POST('/v1/link-templates', { params: { header }, body }));
    props.onMade();
  });
  const faults = fieldProblems(error);
  const isShown = faults.name || faults.landing_url || faults.campaign_id;
  return (
    <Dialog title={t('linkTemplates.new_link_template')} onClose={props.onClose}>
      <Problem error={campaigns.error} onRetry={campaigns.reload} />
      <Form
        submit={t('linkTemplates.create_template')}
        busy={busy}
        error={isShown ? undefined : error}
        onSubmit={() => void run()}
      >
        <Select
          label={t('common.campaign')}
          value={campaign_id}
          onChange={setCampaign}
          fault={faults.campaign_id}
          choices={(campaigns.data ?? []).map(({ id, name: text }) => ({ value: id, text }))}
        />
        <TextField label={t('common.name')} value={name} onChange={setName} fault={faults.name} required />
        <LandingPage value={landing} onChange={setLanding} fault={faults.landing_url} />
      </Form>
    </Dialog>
  );
}
