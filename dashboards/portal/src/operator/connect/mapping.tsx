import { useState } from 'preact/hooks';
import { ApiProblem, api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { formatTime, words } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Problem } from '../../ui/basics.tsx';
import { Dialog, Select, TextArea } from '../../ui/forms.tsx';
import type { Kind, Source } from './kinds.ts';
import { mappingWords } from './mapping-words.ts';
import { Reading } from './reading.tsx';

interface MappingProps {
  readonly source: Source;
  readonly kind: Kind;
  readonly etag: string;
  readonly onSaved: () => void;
}

/** Calls to try a mapping on: the newest. */
const OFFERED = 20;
/** The made-up call of the kind. */
const EXAMPLE = '';

export function MappingCard(props: MappingProps) {
  const { source, kind } = props;
  const [isOpen, setOpen] = useState(false);
  const { fields, rules, items } = mappingWords(source.mapping ?? kind.mapping);
  return (
    <Card
      title={t('mapping.how_calls_are_read')}
      note={
        source.mapping === null
          ? t('mapping.as_calls_of_kind', { kind: kind.title })
          : t('mapping.of_its_own')
      }
      actions={<Button onClick={() => setOpen(true)}>{t('mapping.change')}</Button>}
    >
      <div class="stack">
        <details open={source.mapping !== null}>
          <summary>{t('mapping.which_calls_do_what')}</summary>
          <ol class="sentences">
            {rules.map((rule) => (
              <li key={rule}>{rule}</li>
            ))}
          </ol>
        </details>
        <details>
          <summary>{t('mapping.where_values_come_from')}</summary>
          <dl class="facts">
            {fields.map(({ name, text }) => (
              <Field key={name} name={name} text={text} />
            ))}
          </dl>
          {items.length > 0 && (
            <>
              <h3>{t('common.items')}</h3>
              <ul class="sentences">
                {items.map((item) => (
                  <li key={item}>{item}</li>
                ))}
              </ul>
            </>
          )}
        </details>
      </div>
      {isOpen && <Editor {...props} onClose={() => setOpen(false)} />}
    </Card>
  );
}

function Field({ name, text }: { name: string; text: string }) {
  return (
    <>
      <dt>{words(name)}</dt>
      <dd>{text}</dd>
    </>
  );
}

/** The mapping in a text. @throws SyntaxError. */
function parsed(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new SyntaxError(t('mapping.not_an_object'));
  return value as Record<string, unknown>;
}

function Editor({ source, kind, etag, onSaved, onClose }: MappingProps & { onClose: () => void }) {
  // Of the version that was opened: a change by somebody else meanwhile is not overwritten.
  const [opened] = useState(etag);
  const [text, setText] = useState(() => JSON.stringify(source.mapping ?? kind.mapping, null, 2));
  const [callId, setCallId] = useState(EXAMPLE);
  const [tried, setTried] = useState<{ text: string; reading: Schemas['SourceReading'] }>();
  const calls = useStoredCalls(source);
  const path = { id: source.id };
  const attempt = useAction(async () => {
    const on = callId === EXAMPLE ? { request: kind.example } : { call_id: callId };
    const body = { mapping: parsed(text), ...on };
    const params = { path, header: newAttempt() };
    setTried({ text, reading: await take(api.POST('/v1/sources/{id}/try', { params, body })) });
  });
  const save = useAction(async (mapping: Record<string, unknown> | null) => {
    const params = { path, header: { 'if-match': opened } };
    await take(api.PATCH('/v1/sources/{id}', { params, body: { mapping } }));
    onSaved();
    onClose();
  });
  const fault = faultOf(attempt.error);
  return (
    <Dialog title={t('mapping.how_calls_are_read')} onClose={onClose}>
      <div class="stack mapping">
        <TextArea
          label={t('mapping.mapping_json')}
          hint={t('mapping.language')}
          rows={16}
          value={text}
          onChange={setText}
          fault={fault}
        />
        <Select
          label={t('mapping.try_it_on')}
          value={callId}
          onChange={setCallId}
          choices={[{ value: EXAMPLE, text: t('mapping.example_of_kind', { kind: kind.title }) }, ...calls]}
        />
        <Problem error={fault === undefined ? (attempt.error ?? save.error) : save.error} />
        <div class="form-end">
          <Button kind="primary" onClick={() => void attempt.run()} busy={attempt.busy}>
            {t('mapping.try')}
          </Button>
          <Button
            onClick={() => void save.run(parsed(text))}
            busy={save.busy}
            disabled={tried?.text !== text || attempt.error !== undefined}
          >
            {t('common.save')}
          </Button>
          {source.mapping !== null && (
            <Button kind="quiet" onClick={() => void save.run(null)} busy={save.busy}>
              {t('mapping.back_to_kind', { kind: kind.title })}
            </Button>
          )}
        </div>
        {tried?.text === text ? (
          <Reading reading={tried.reading} />
        ) : (
          <p class="hint">{t('mapping.try_before')}</p>
        )}
      </div>
    </Dialog>
  );
}

/** The newest calls that are stored. */
function useStoredCalls(source: Source): readonly { value: string; text: string }[] {
  const { data } = useData(
    async (signal) => {
      const query = { program_id: source.program_id, source_id: source.id, limit: OFFERED };
      return (await take(api.GET('/v1/postback-calls', { params: { query }, signal }))).data;
    },
    [source.id],
  );
  return (data ?? [])
    .filter(({ replay_of, code }) => replay_of === null && code !== 'unauthorized')
    .map(({ id, received_at, order_id, outcome }) => ({
      value: id,
      text: t('mapping.call', {
        time: formatTime(received_at),
        order: order_id ?? id,
        outcome: outcome === 'rejected' ? t('calls.refused') : words(outcome),
      }),
    }));
}

/** What is wrong with the text itself. */
function faultOf(error: unknown): string | undefined {
  if (error instanceof SyntaxError) return error.message;
  if (!(error instanceof ApiProblem) || error.problem.code !== 'invalid_input') return undefined;
  return error.problem.detail;
}
