import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Dialog, Form, TextArea, TextField } from '../../ui/forms.tsx';
import { Table } from '../../ui/table.tsx';

type Template = Schemas['MailTemplate'];

/** Mails to partners and applicants, in the words of the program. */
export function MailTemplatesPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<Template>();
  const params = { path: { id: program.id } };
  const { data, error, reload } = useData(
    async (signal) => (await take(api.GET('/v1/programs/{id}/mail-templates', { params, signal }))).data,
    [program.id],
  );
  return (
    <Page title={t('common.mails')} lead={t('mails.what_partners_get')}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <Sender key={program.id} />
          <Card title={t('mails.texts')} note={t('mails.words_of_the_platform')}>
            <Table
              label={t('common.mails')}
              rows={data}
              rowKey={({ kind }) => kind}
              columns={[
                {
                  title: t('mails.mail'),
                  head: true,
                  cell: ({ kind, sent }) => (
                    <>
                      {words(kind)}
                      <span class="sub">{sent}</span>
                    </>
                  ),
                },
                { title: t('mails.subject'), cell: ({ subject }) => subject },
                {
                  title: t('mails.words'),
                  cell: ({ is_own }) => (is_own ? t('mails.your_own') : t('mails.default')),
                },
                {
                  title: '',
                  cell: (template) => (
                    <div class="actions">
                      <Button
                        onClick={() => setShown(template)}
                        label={t('common.edit_code', { code: words(template.kind) })}
                      >
                        {' '}
                        {t('common.edit')}
                      </Button>
                    </div>
                  ),
                },
              ]}
            />
          </Card>
        </>
      )}
      {shown && (
        <Editor
          template={shown}
          onClose={() => setShown(undefined)}
          onSaved={() => {
            setShown(undefined);
            reload();
          }}
        />
      )}
    </Page>
  );
}

/** Who the mails are from. */
function Sender() {
  const { program, reload } = useSession();
  const [name, setName] = useState(program.mail_sender_name ?? '');
  const { run, busy, error } = useAction(async () => {
    const body = { mail_sender_name: name.trim() === '' ? null : name };
    await take(api.PATCH('/v1/programs/{id}', { params: { path: { id: program.id } }, body }));
    reload();
  });
  const fault = fieldProblems(error).mail_sender_name;
  return (
    <Card title={t('mails.sender')}>
      <Form
        submit={t('mails.save_the_name')}
        busy={busy}
        error={fault === undefined ? error : undefined}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('mails.name_of_the_sender')}
          value={name}
          onChange={setName}
          fault={fault}
          hint={t('mails.stands_before_the_address')}
        />
      </Form>
    </Card>
  );
}

function Editor(props: { template: Template; onClose: () => void; onSaved: () => void }) {
  const { template, onClose, onSaved } = props;
  const { program } = useSession();
  const [subject, setSubject] = useState(template.subject);
  const [text, setText] = useState(template.text);
  const [preview, setPreview] = useState<{ subject: string; text: string }>();
  const params = { path: { id: program.id, kind: template.kind } };
  const body = { subject, text };
  const look = useAction(async () => {
    const path = '/v1/programs/{id}/mail-templates/{kind}/preview' as const;
    setPreview(await take(api.POST(path, { params, body })));
  });
  const save = useAction(async () => {
    await take(api.PUT('/v1/programs/{id}/mail-templates/{kind}', { params, body }));
    onSaved();
  });
  const reset = useAction(async () => {
    await take(api.DELETE('/v1/programs/{id}/mail-templates/{kind}', { params }));
    onSaved();
  });
  const error = save.error ?? look.error ?? reset.error;
  const faults = fieldProblems(error);
  return (
    <Dialog title={words(template.kind)} onClose={onClose}>
      <Form
        submit={t('common.save')}
        busy={save.busy}
        error={faults.subject || faults.text ? undefined : error}
        onSubmit={() => void save.run()}
      >
        <p class="hint">
          {' '}
          {t('mails.it_can_have', {
            sent: template.sent,
            placeholders: template.placeholders.map((name) => `{${name}}`).join(' '),
          })}
        </p>
        <TextField
          label={t('mails.subject')}
          value={subject}
          onChange={setSubject}
          fault={faults.subject}
          required
        />
        <TextArea
          label={t('signUp.text')}
          rows={10}
          value={text}
          onChange={setText}
          fault={faults.text}
          required
        />
        {preview && (
          <section class="preview" aria-label={t('mails.preview')}>
            <strong>{preview.subject}</strong>
            <p class="message">{preview.text}</p>
          </section>
        )}
        <div class="actions">
          <Button onClick={() => void look.run()} busy={look.busy}>
            {' '}
            {t('mails.preview')}
          </Button>
          {template.is_own && (
            <Button onClick={() => void reset.run()} busy={reset.busy}>
              {' '}
              {t('mails.back_to_the_default')}
            </Button>
          )}
        </div>
      </Form>
    </Dialog>
  );
}
