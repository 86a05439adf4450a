import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { ApiProblem, api, type Schemas, take } from '../data/api.ts';
import { useAction, useData } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
import { Loading, Problem } from '../ui/basics.tsx';
import { Check, Form, Select, TextArea, TextField } from '../ui/forms.tsx';
import { Front } from './sign-in.tsx';

type SignUpPage = Schemas['SignUpPage'];

/** The page on which partners apply for a program; it needs no session. */
export function Join({ params: { slug = '' } }: { params: Readonly<Record<string, string>> }) {
  const { data, error, reload } = useData(
    async (signal) => await take(api.GET('/v1/sign-up/{slug}', { params: { path: { slug } }, signal })),
    [slug],
  );
  const [mailedTo, setMailedTo] = useState<string>();
  if (error instanceof ApiProblem && error.problem.status === 404) {
    return (
      <Front title={t('join.applications_are_closed')}>
        <p>{t('join.takes_no_applications')}</p>
      </Front>
    );
  }
  if (mailedTo !== undefined) {
    return (
      <Front title={t('join.check_your_mail')}>
        <p> {t('join.we_have_sent_a_link', { email: mailedTo })}</p>
        <p class="hint">{t('join.no_mail')}</p>
      </Front>
    );
  }
  return (
    <Front
      title={data ? t('join.become_a_partner_of', { program: data.program }) : t('join.become_a_partner')}
      wide
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && <Application slug={slug} page={data} onSent={setMailedTo} onStale={reload} />}
    </Front>
  );
}

interface ApplicationProps {
  readonly slug: string;
  readonly page: SignUpPage;
  readonly onSent: (email: string) => void;
  /** The conditions have changed meanwhile. */
  readonly onStale: () => void;
}

function Application({ slug, page, onSent, onStale }: ApplicationProps) {
  const { questions, conditions } = page;
  const [fields, setFields] = useState({ name: '', email: '', country: '' });
  const set = (name: keyof typeof fields) => (value: string) => setFields({ ...fields, [name]: value });
  const [answers, setAnswers] = useState<Readonly<Record<string, string>>>({});
  const [accepts, setAccepts] = useState(false);
  const { run, busy, error } = useAction(async () => {
    const { name, email, country } = fields;
    const body = {
      name,
      email,
      ...(country !== '' && { country: country.trim().toUpperCase() }),
      answers: questions.flatMap(({ label }) => {
        const answer = answers[label]?.trim() ?? '';
        return answer === '' ? [] : [{ label, answer }];
      }),
      ...(conditions && { conditions_version: conditions.version }),
    };
    try {
      await take(api.POST('/v1/sign-up/{slug}', { params: { path: { slug } }, body }));
    } catch (problem) {
      if (fieldProblems(problem).conditions_version !== undefined) {
        setAccepts(false);
        onStale();
      }
      throw problem;
    }
    onSent(email);
  });
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(faults).some((name) => name in fields || /^answers\.\d+/.test(name));
  return (
    <Form
      submit={t('join.apply')}
      busy={busy}
      error={isOnFields ? undefined : error}
      onSubmit={() => void run()}
    >
      <TextField
        label={t('join.your_name')}
        value={fields.name}
        onChange={set('name')}
        autocomplete="name"
        fault={faults.name}
        required
      />
      <div class="form-row">
        <TextField
          label={t('join.your_e_mail_address')}
          type="email"
          value={fields.email}
          onChange={set('email')}
          autocomplete="email"
          hint={t('join.gets_a_link')}
          fault={faults.email}
          required
        />
        <TextField
          label={t('name.country')}
          value={fields.country}
          onChange={set('country')}
          autocomplete="country"
          hint={t('join.two_letters')}
          max={2}
          fault={faults.country}
        />
      </div>
      {questions.map((question, i) => (
        <Answer
          key={question.label}
          question={question}
          value={answers[question.label] ?? ''}
          onChange={(value) => setAnswers({ ...answers, [question.label]: value })}
          fault={faults[`answers.${i}`] ?? faults[`answers.${i}.answer`]}
        />
      ))}
      {conditions && (
        <fieldset class="stack">
          <legend>{t('common.conditions_of_participation')}</legend>
          <ConditionsText text={conditions.text} />
          <Check
            label={t('join.i_accept', { version: conditions.version })}
            checked={accepts}
            onChange={setAccepts}
            required
          />
        </fieldset>
      )}
    </Form>
  );
}

function Answer(props: {
  question: Schemas['SignUpQuestion'];
  value: string;
  onChange: (value: string) => void;
  fault: string | undefined;
}) {
  const { question, ...rest } = props;
  const { label, kind, required, choices } = question;
  switch (kind) {
    case 'short':
      return <TextField {...rest} label={label} required={required} />;
    case 'long':
      return <TextArea {...rest} label={label} required={required} />;
    case 'choice':
      return (
        <Select
          {...rest}
          label={label}
          choices={[
            { value: '', text: t('join.choose_one') },
            ...choices.map((choice) => ({ value: choice, text: choice })),
          ]}
        />
      );
  }
}

/** Target of the mailed link. Readers of mail open links by themselves, so a person confirms by a button. */
export function ConfirmApplication() {
  const token = new URLSearchParams(window.location.search).get('token') ?? '';
  const read = useData(
    async (signal) => await take(api.POST('/v1/applications/unconfirmed', { body: { token }, signal })),
    [token],
  );
  const [program, setProgram] = useState<string>();
  const { run, busy, error } = useAction(async () => {
    setProgram((await take(api.POST('/v1/applications/confirm', { body: { token } }))).program);
  });
  if (program !== undefined) {
    return (
      <Front title={t('join.your_application_is_confirmed')}>
        <p>{t('join.has_your_application', { program })}</p>
      </Front>
    );
  }
  const fault = fieldProblems(read.error).token ?? fieldProblems(error).token;
  if (token === '' || fault !== undefined) {
    return (
      <Front title={t('setPassword.this_link_is_no_longer')}>
        <p> {t('join.it_works_once')}</p>
      </Front>
    );
  }
  return (
    <Front title={t('join.confirm_your_application')} wide>
      <Problem error={read.error} onRetry={read.reload} />
      {!read.data && read.error === undefined && <Loading />}
      {read.data && (
        <Form submit={t('join.confirm_my_application')} busy={busy} error={error} onSubmit={() => void run()}>
          <p>{t('join.one_step_is_left', { program: read.data.program })}</p>
          <Applied application={read.data} />
        </Form>
      )}
    </Front>
  );
}

/** What would be confirmed: anybody can have written it. */
function Applied({ application }: { application: Schemas['UnconfirmedApplication'] }) {
  const { name, email, country, answers, conditions } = application;
  return (
    <>
      <dl class="facts">
        <dt>{t('common.name')}</dt>
        <dd>{name}</dd>
        <dt>{t('common.e_mail_address')}</dt>
        <dd>{email}</dd>
        {country !== null && (
          <>
            <dt>{t('name.country')}</dt>
            <dd>{country}</dd>
          </>
        )}
        {answers.map(({ label, answer }) => (
          <Fragment key={label}>
            <dt>{label}</dt>
            <dd class="message">{answer}</dd>
          </Fragment>
        ))}
      </dl>
      {conditions && (
        <>
          <ConditionsText text={conditions.text} />
          <p class="hint">{t('join.accepted_with_it', { version: conditions.version })}</p>
        </>
      )}
    </>
  );
}

function ConditionsText({ text }: { text: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <section class="conditions" aria-label={t('common.conditions_of_participation')} tabIndex={0}>
      {text}
    </section>
  );
}
