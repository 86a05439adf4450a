import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Loading, Problem, When } from '../basics.tsx';
import { Form, TextArea } from '../forms.tsx';

/** Questions of the partner about an order, and the answers of the program, for both sides. */
export function OrderThread({ orderId, onWritten }: { orderId: string; onWritten?: () => void }) {
  const { user } = useSession();
  const isPartner = user.affiliate_id !== null;
  const params = { path: { id: orderId } };
  const { data, error, reload } = useData(
    async (signal) => (await take(api.GET('/v1/conversions/{id}/messages', { params, signal }))).data,
    [orderId],
  );
  const asks = data?.some(({ author }) => author === 'affiliate') ?? false;
  return (
    <>
      <h3>{t('common.questions')}</h3>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && data.length > 0 && (
        <ol class="thread" aria-label={t('thread.messages')}>
          {data.map(({ id, author, text, created_at }) => (
            <li key={id} class={author}>
              <p class="sub">
                {author === 'program' ? t('thread.the_program') : t('thread.the_partner')},{' '}
                <When at={created_at} />
              </p>
              <p class="message">{text}</p>
            </li>
          ))}
        </ol>
      )}
      {data && !isPartner && data.some(({ is_open }) => is_open) && (
        <CloseQuestions
          orderId={orderId}
          onClosed={() => {
            reload();
            onWritten?.();
          }}
        />
      )}
      {data && (
        <Write
          key={data.length}
          orderId={orderId}
          label={
            isPartner ? t('thread.your_question') : asks ? t('thread.your_answer') : t('thread.your_message')
          }
          submit={isPartner ? t('thread.ask') : asks ? t('common.answer') : t('thread.send')}
          onWritten={() => {
            reload();
            onWritten?.();
          }}
        />
      )}
    </>
  );
}

/** Not every question needs an answer. */
function CloseQuestions({ orderId, onClosed }: { orderId: string; onClosed: () => void }) {
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: orderId } };
    await take(api.POST('/v1/conversions/{id}/messages/close', { params }));
    onClosed();
  });
  return (
    <>
      <Problem error={error} />
      <div class="actions">
        <Button onClick={() => void run()} busy={busy}>
          {t('thread.close_without_answer')}
        </Button>
      </div>
    </>
  );
}

function Write(props: { orderId: string; label: string; submit: string; onWritten: () => void }) {
  const [attempt] = useState(newAttempt);
  const [text, setText] = useState('');
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: props.orderId }, header: attempt };
    await take(api.POST('/v1/conversions/{id}/messages', { params, body: { text } }));
    props.onWritten();
  });
  const fault = fieldProblems(error).text;
  return (
    <Form
      submit={props.submit}
      busy={busy}
      error={fault === undefined ? error : undefined}
      onSubmit={() => void run()}
    >
      <TextArea
        label={props.label}
        rows={2}
        value={text}
        onChange={setText}
        fault={fault}
        hint={t('thread.both_sides_see_it')}
        required
      />
    </Form>
  );
}
