import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, CopyText, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Check, Form, Select, TextArea, TextField } from '../../ui/forms.tsx';

type Settings = Schemas['SignUpSettings'];
type Question = Schemas['SignUpQuestion'];

const KINDS = [
  { value: 'short', text: 'Short text' },
  { value: 'long', text: 'Long text' },
  { value: 'choice', text: 'Choice' },
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
    <Page
      title="Sign-up page"
      lead="Partners apply on it without an invitation. You see an application once its address is confirmed."
    >
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
    <Form submit="Save" busy={busy} error={isOnFields ? undefined : error} onSubmit={() => void run()}>
      <Card title="Page" note={settings.open ? 'It takes applications.' : 'It is off: no one can apply.'}>
        <div class="stack">
          {settings.open && settings.url !== null && <CopyText text={settings.url} label="address" />}
          <Check label="Take applications" checked={open} onChange={setOpen} />
          <TextField
            label="Address"
            value={slug}
            onChange={setSlug}
            fault={faults.slug}
            hint="The end of its address: lower-case letters, digits and hyphens. Hard to guess, if only those are to find it whom you give it."
            required
          />
        </div>
      </Card>
      <Card title="Questions" note="Beside name, e-mail address and country, which it always asks.">
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
            <Button onClick={add}>Add a question</Button>
          </div>
        </div>
      </Card>
      <Card
        title="Conditions of participation"
        note={
          settings.conditions
            ? `Version ${settings.conditions.version}. Another text is a new version; who has accepted an earlier one stays with it.`
            : 'Empty: applicants accept none.'
        }
      >
        <TextArea
          label="Text"
          rows={8}
          value={conditions}
          onChange={setConditions}
          fault={faults.conditions}
          hint="Plain text. Each application keeps which version was accepted, and when."
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
      <legend>Question {place + 1}</legend>
      <div class="form-row">
        <TextField
          label="Question"
          value={question.label}
          onChange={(label) => onChange({ label })}
          fault={fault('label')}
          required
        />
        <Select
          label="Answer"
          value={question.kind}
          onChange={(kind) => onChange({ kind: kind as Question['kind'] })}
          choices={KINDS}
        />
      </div>
      {question.kind === 'choice' && (
        <TextField
          label="Choices"
          value={question.choices}
          onChange={(choices) => onChange({ choices })}
          fault={fault('choices')}
          hint="With commas between."
          required
        />
      )}
      <div class="actions">
        <Check
          label="Must be answered"
          checked={question.required}
          onChange={(required) => onChange({ required })}
        />
        <Button kind="quiet" onClick={onRemove} label={`Remove question ${place + 1}`}>
          Remove
        </Button>
      </div>
    </fieldset>
  );
}

function slugOf(name: string): string {
  const words = name.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return words.join('-').slice(0, 60);
}
