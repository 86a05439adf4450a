import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, CopyText, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Check, Form, Select, TextArea, TextField } from '../../ui/forms.tsx';

type Settings = Schemas['SignUpSettings'];
type Question = Schemas['SignUpQuestion'];

const KINDS = [
  { value: 'short', text: t('signUp.short_text') },
  { value: 'long', text: t('signUp.long_text') },
  { value: 'choice', text: t('signUp.choice') },
];

/** A question as it is typed: its choices are one text, and its number outlasts the questions before it. */
interface Draft extends Omit<Question, 'choices'> {
  readonly number: number;
  readonly choices: string;
}

function draftsOf(questions: readonly Question[]): Draft[] {
  return questions.map((question, number) => ({
    ...question,
    number,
    choices: question.choices.join(', '),
  }));
}

function bodyOf({ label, kind, required, choices }: Draft): Question {
  const chosen = choices.split(',').flatMap((one) => one.trim() || []);
  return { label, kind, required, choices: kind === 'choice' ? chosen : [] };
}

/** The page on which partners apply: its address, what it asks, and the conditions of participation. */
export function SignUpSettingsPage() {
  const { program } = useSession();
  const { data, error, reload } = useData(
    async (signal) => {
      const params = { path: { id: program.id } };
      return await takeVersion(api.GET('/v1/programs/{id}/sign-up', { params, signal }));
    },
    [program.id],
  );
  return (
    <Page title={t('common.sign_up_page')} lead={t('signUp.partners_apply_on_it')}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && <Editor key={data.etag} settings={data.data} etag={data.etag} onSaved={reload} />}
    </Page>
  );
}

function Editor({ settings, etag, onSaved }: { settings: Settings; etag: string; onSaved: () => void }) {
  const { program } = useSession();
  const [open, setOpen] = useState(settings.open);
  const [slug, setSlug] = useState(settings.slug ?? slugOf(program.name));
  const [questions, setQuestions] = useState<readonly Draft[]>(draftsOf(settings.questions));
  const [conditions, setConditions] = useState(settings.conditions?.text ?? '');
  const { run, busy, error } = useAction(async () => {
    const body = {
      open,
      slug,
      questions: questions.map(bodyOf),
      conditions: conditions.trim() === '' ? null : conditions,
    };
    const params = { path: { id: program.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/programs/{id}/sign-up', { params, body }));
    onSaved();
  });
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(faults).some((name) => /^(slug|conditions|questions\.)/.test(name));
  const change = (number: number, changes: Partial<Draft>) =>
    setQuestions(questions.map((one) => (one.number === number ? { ...one, ...changes } : one)));
  const add = () => {
    const number = Math.max(-1, ...questions.map((one) => one.number)) + 1;
    setQuestions([...questions, { number, label: '', kind: 'short', required: true, choices: '' }]);
  };
  return (
    <Form
      submit={t('common.save')}
      busy={busy}
      error={isOnFields ? undefined : error}
      onSubmit={() => void run()}
    >
      <Card
        title={t('signUp.page')}
        note={settings.open ? t('signUp.it_takes_applications') : t('signUp.it_is_off')}
      >
        <div class="stack">
          {settings.open && settings.url !== null && (
            <CopyText text={settings.url} label={t('signUp.address_of_the_page')} />
          )}
          <Check label={t('signUp.take_applications')} checked={open} onChange={setOpen} />
          <TextField
            label={t('common.address')}
            value={slug}
            onChange={setSlug}
            fault={faults.slug}
            hint={t('signUp.the_end_of_its_address')}
            required
          />
        </div>
      </Card>
      <Card title={t('common.questions')} note={t('signUp.beside_name')}>
        <div class="stack">
          {questions.map((question, place) => (
            <QuestionFields
              key={question.number}
              place={place}
              question={question}
              faults={faults}
              onChange={(changes) => change(question.number, changes)}
              onRemove={() => setQuestions(questions.filter((one) => one !== question))}
            />
          ))}
          <div class="form-end">
            <Button onClick={add}>{t('signUp.add_a_question')}</Button>
          </div>
        </div>
      </Card>
      <Card
        title={t('common.conditions_of_participation')}
        note={
          settings.conditions
            ? t('signUp.version_in_force', { version: settings.conditions.version })
            : t('signUp.applicants_accept_none')
        }
      >
        <TextArea
          label={t('signUp.text')}
          rows={8}
          value={conditions}
          onChange={setConditions}
          fault={faults.conditions}
          hint={t('signUp.plain_text')}
        />
      </Card>
    </Form>
  );
}

function QuestionFields(props: {
  place: number;
  question: Draft;
  faults: Readonly<Record<string, string>>;
  onChange: (changes: Partial<Draft>) => void;
  onRemove: () => void;
}) {
  const { place, question, faults, onChange, onRemove } = props;
  const fault = (name: string) =>
    Object.entries(faults).find(([field]) => field.startsWith(`questions.${place}.${name}`))?.[1];
  return (
    <fieldset class="stack">
      <legend>{t('signUp.question_number', { number: place + 1 })}</legend>
      <div class="form-row">
        <TextField
          label={t('signUp.question')}
          value={question.label}
          onChange={(label) => onChange({ label })}
          fault={fault('label')}
          required
        />
        <Select
          label={t('common.answer')}
          value={question.kind}
          onChange={(kind) => onChange({ kind: kind as Question['kind'] })}
          choices={KINDS}
        />
      </div>
      {question.kind === 'choice' && (
        <TextField
          label={t('signUp.choices')}
          value={question.choices}
          onChange={(choices) => onChange({ choices })}
          fault={fault('choices')}
          hint={t('signUp.with_commas_between')}
          required
        />
      )}
      <div class="actions">
        <Check
          label={t('signUp.must_be_answered')}
          checked={question.required}
          onChange={(required) => onChange({ required })}
        />
        <Button kind="quiet" onClick={onRemove} label={t('signUp.remove_question', { number: place + 1 })}>
          {' '}
          {t('common.remove')}
        </Button>
      </div>
    </fieldset>
  );
}

function slugOf(name: string): string {
  const words = name.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return words.join('-').slice(0, 60);
}
