import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take, takeAll } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { formatCount, formatMoney, formatShare, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { listed, t } from '../../text/t.ts';
import { Loading, Problem } from '../../ui/basics.tsx';
import { Check, Dialog, Form, Select, TextArea, TextField } from '../../ui/forms.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';

type Kind = Schemas['Block']['kind'];
type Preview = Schemas['BlockPreview'];

export const KINDS: readonly { readonly value: Kind; readonly text: string }[] = [
  { value: 'address', text: t('common.address') },
  { value: 'network', text: t('blocks.network') },
  { value: 'asn', text: t('blocks.asn') },
  { value: 'country', text: t('blocks.country') },
  { value: 'user_agent', text: t('blocks.user_agent') },
  { value: 'referrer', text: t('blocks.referrer') },
  { value: 'sub_id', text: t('blocks.sub_id') },
];
export const ACTIONS = [
  { value: 'redirect', text: t('blocks.sent_on') },
  { value: 'fallback', text: t('blocks.to_the_fallback') },
] as const;
const HINTS: Readonly<Record<Kind, string>> = {
  address: t('blocks.hint_address'),
  network: t('blocks.hint_network'),
  asn: t('blocks.hint_asn'),
  country: t('blocks.hint_country'),
  user_agent: t('blocks.hint_user_agent'),
  referrer: t('blocks.hint_referrer'),
  sub_id: t('blocks.hint_sub_id'),
};
const SUBS = ['1', '2', '3', '4', '5'].map((value) => ({
  value,
  text: t('blocks.sub_number', { number: value }),
}));
const NAMED = ['affiliates'] as const;
/** Of one preview. */
const MAX_LINES = 100;
/** Of the clicks of a week: more are seldom those of a fraud. */
const LARGE_SHARE = 0.05;

interface Draft {
  readonly kind: Kind;
  readonly values: string;
  readonly affiliate: string;
  readonly sub: string;
  readonly everywhere: boolean;
}

/** A new entry for each line, first with what they would have caught, then in force. */
export function NewBlock({
  given,
  onClose,
  onMade,
}: {
  given: { kind: string; value: string };
  onClose: () => void;
  onMade: () => void;
}) {
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const kind = KINDS.find(({ value }) => value === given.kind)?.value ?? 'address';
  const [draft, setDraft] = useState<Draft>({
    kind,
    values: given.value,
    affiliate: '',
    sub: '1',
    everywhere: false,
  });
  const [action, setAction] = useState<'redirect' | 'fallback'>('fallback');
  const [reason, setReason] = useState('');
  const [until, setUntil] = useState('');
  const [seen, setSeen] = useState<{ draft: Draft; preview: Preview }>();
  const [isSure, setIsSure] = useState(false);
  const entries = targetsOf(draft);
  const program_id = draft.everywhere ? null : program.id;
  const preview = seen?.draft === draft ? seen.preview : undefined;
  const { run, busy, error } = useAction(async () => {
    if (!preview) {
      const body = { program_id, entries };
      setIsSure(false);
      setSeen({ draft, preview: await take(api.POST('/v1/blocks/preview', { body })) });
      return;
    }
    const more = { action, reason, ...(until !== '' && { ends_at: new Date(until).toISOString() }) };
    const body = { program_id, entries: entries.map((entry) => ({ ...entry, ...more })) };
    await take(api.POST('/v1/blocks', { params: { header: attempt }, body }));
    onMade();
  });
  const fault = entryFault(error);
  const share = preview && shareOf(preview);
  return (
    <Dialog title={t('blocks.new')} onClose={onClose}>
      <Form
        submit={preview ? t('blocks.block') : t('blocks.preview')}
        busy={busy}
        error={(fault.values ?? fault.until) ? undefined : error}
        onSubmit={() => void run()}
      >
        <Targets draft={draft} onChange={setDraft} fault={fault.values} />
        <div class="form-row">
          <Select
            label={t('blocks.its_clicks')}
            value={action}
            onChange={(value) => setAction(value === 'redirect' ? value : 'fallback')}
            choices={ACTIONS}
            hint={t('blocks.never_earn')}
          />
          <TextField
            label={t('blocks.until_zone', { zone: ZONE_NAME })}
            type="datetime-local"
            value={until}
            onChange={setUntil}
            fault={fault.until}
            hint={t('blocks.until_hint')}
          />
        </div>
        <TextField label={t('common.reason')} value={reason} onChange={setReason} max={2_000} required />
        {busy && !preview && <Loading what={t('blocks.counting')} />}
        {preview && <Caught preview={preview} />}
        {share !== undefined && share > LARGE_SHARE && (
          <Check
            label={t('blocks.block_share', { share: formatShare(share) })}
            checked={isSure}
            onChange={setIsSure}
            required
          />
        )}
      </Form>
    </Dialog>
  );
}

function Targets({
  draft,
  onChange,
  fault,
}: {
  draft: Draft;
  onChange: (draft: Draft) => void;
  fault: string | undefined;
}) {
  const { user, program } = useSession();
  const { kind, values, affiliate, sub, everywhere } = draft;
  const change = (changes: Partial<Draft>) => onChange({ ...draft, ...changes });
  return (
    <>
      <div class="form-row">
        <Select
          label={t('common.kind')}
          value={kind}
          onChange={(value) => change({ kind: value as Kind, everywhere: everywhere && value !== 'sub_id' })}
          choices={KINDS}
        />
        {user.program_id === null && kind !== 'sub_id' && (
          <Select
            label={t('blocks.where')}
            value={everywhere ? 'every' : 'one'}
            onChange={(value) => change({ everywhere: value === 'every' })}
            choices={[
              { value: 'one', text: program.name },
              { value: 'every', text: t('blocks.every_program') },
            ]}
          />
        )}
      </div>
      {kind === 'sub_id' && (
        <div class="form-row">
          <Partner value={affiliate} onChange={(value) => change({ affiliate: value })} />
          <Select
            label={t('blocks.sub_id')}
            value={sub}
            onChange={(value) => change({ sub: value })}
            choices={SUBS}
          />
        </div>
      )}
      <TextArea
        label={t('blocks.values')}
        value={values}
        onChange={(value) => change({ values: value })}
        rows={3}
        required
        fault={fault}
        hint={`${HINTS[kind]} ${t('blocks.at_most_lines', { number: MAX_LINES })}`}
      />
    </>
  );
}

function Partner({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const { program } = useSession();
  const { data, error, reload } = useData(
    async (signal) =>
      await takeAll((cursor) =>
        api.GET('/v1/affiliates', {
          params: { query: { program_id: program.id, cursor, limit: 500 } },
          signal,
        }),
      ),
    [program.id],
  );
  if (!data) return <Problem error={error} onRetry={reload} />;
  return (
    <Select
      label={t('common.partner')}
      value={value}
      onChange={onChange}
      choices={[{ value: '', text: '' }, ...data.map(({ id, name }) => ({ value: id, text: name }))]}
    />
  );
}

/** What the entries would have caught. */
function Caught({ preview }: { preview: Preview }) {
  const { clicks, valid_clicks, all_clicks, orders, money, affiliates, is_partial, is_shortened, from } =
    preview;
  const names = useNames(NAMED);
  return (
    <section class="stack" aria-label={t('blocks.caught')} aria-live="polite">
      <h3>{t('blocks.caught')}</h3>
      {is_partial && <p class="fault">{t('blocks.partial', { from: from.slice(0, 10) })}</p>}
      {is_shortened && <p class="fault">{t('blocks.shortened')}</p>}
      <dl class="facts">
        <dt>{t('common.clicks')}</dt>
        <dd>
          {t('blocks.clicks_of_all', {
            clicks: formatCount(clicks),
            all: formatCount(all_clicks),
            share: formatShare(shareOf(preview)),
          })}
        </dd>
        <dt>{t('blocks.valid_clicks')}</dt>
        <dd>{formatCount(valid_clicks)}</dd>
        <dt>{t('common.orders')}</dt>
        <dd>{formatCount(orders)}</dd>
        <dt>{t('blocks.revenue_and_commission')}</dt>
        <dd>
          {money.length === 0
            ? '–'
            : listed(
                money.map(
                  ({ revenue, commission }) => `${formatMoney(revenue)} (${formatMoney(commission)})`,
                ),
              )}
        </dd>
        <dt>{t('common.partners')}</dt>
        <dd>
          {affiliates.length === 0
            ? '–'
            : listed(
                affiliates.map(
                  ({ affiliate_id, clicks: own }) =>
                    `${names.get(affiliate_id) ?? affiliate_id} (${formatCount(own)})`,
                ),
              )}
        </dd>
      </dl>
      <CompleteTo at={preview.complete_to} />
    </section>
  );
}

function shareOf({ clicks, all_clicks }: Preview): number {
  return clicks / Math.max(1, all_clicks);
}

function targetsOf({ kind, values, affiliate, sub }: Draft) {
  const lines = values
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.map((value) => ({
    kind,
    value,
    ...(kind === 'sub_id' && { affiliate_id: affiliate, sub: Number(sub) }),
  }));
}

/** The message about an entry, beside its field: entries.2.value is the third line. */
function entryFault(error: unknown): { values?: string; until?: string } {
  for (const [field, message] of Object.entries(fieldProblems(error))) {
    const [, index, name] = /^entries(?:\.(\d+))?(?:\.(\w+))?/.exec(field) ?? [];
    if (!field.startsWith('entries') || message === undefined) continue;
    if (name === 'ends_at') return { until: message };
    return {
      values: index === undefined ? message : t('blocks.line_fault', { line: Number(index) + 1, message }),
    };
  }
  return {};
}
