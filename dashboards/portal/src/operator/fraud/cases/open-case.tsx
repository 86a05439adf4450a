import { useState } from 'preact/hooks';
import { navigate } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, newAttempt, take } from '../../../data/api.ts';
import { useAction, useData } from '../../../data/use-data.ts';
import { fieldProblems } from '../../../text/problem-text.ts';
import { t } from '../../../text/t.ts';
import { Loading, Problem } from '../../../ui/basics.tsx';
import { KEY_NAMES } from '../../../ui/explored.tsx';
import { Check, Dialog, Form, TextArea, TextField } from '../../../ui/forms.tsx';
import { SHARED_TEXTS, type SharedKind, type Subject, sumText } from './kinds.ts';

const KINDS: readonly SharedKind[] = [
  'ip',
  'subnet',
  'fingerprint',
  'customer',
  'payment_account',
  'affiliate',
  'payout_account',
];

/** A new case of chosen orders, of those that share something with one, or of none yet. */
export function OpenCase(props: {
  conversionIds: readonly string[];
  relatedTo?: string;
  /** What it begins with. */
  subject?: Subject;
  onClose: () => void;
}) {
  const { conversionIds, relatedTo, subject } = props;
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [title, setTitle] = useState('');
  const [note, setNote] = useState('');
  const [shared, setShared] = useState<readonly SharedKind[]>(['ip', 'fingerprint', 'customer']);
  const { run, busy, error } = useAction(async () => {
    const body = {
      program_id: program.id,
      title,
      conversion_ids: [...conversionIds],
      ...(subject && { subject }),
      ...(note.trim() !== '' && { note }),
      ...(relatedTo !== undefined &&
        shared.length > 0 && { related: { to: relatedTo, shared: [...shared] } }),
    };
    const { id } = await take(api.POST('/v1/cases', { params: { header: attempt }, body }));
    navigate(`/cases/${id}`, { replace: true });
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title={t('cases.open_a_case')} onClose={props.onClose}>
      <Form
        submit={t('cases.open_a_case')}
        busy={busy}
        error={faults.title === undefined ? error : undefined}
        onSubmit={() => void run()}
      >
        {subject && (
          <p class="hint">
            {t('cases.began_with')}: {KEY_NAMES[subject.kind]} <code>{subject.value}</code>
          </p>
        )}
        {relatedTo === undefined ? (
          <p class="hint">{t('cases.with_orders', { count: conversionIds.length })}</p>
        ) : (
          <Related to={relatedTo} shared={shared} onChange={setShared} />
        )}
        <TextField
          label={t('cases.case_title')}
          value={title}
          onChange={setTitle}
          fault={faults.title}
          hint={t('cases.name_no_customer')}
          required
        />
        <TextArea label={t('cases.note')} rows={2} value={note} onChange={setNote} fault={faults.note} />
      </Form>
    </Dialog>
  );
}

/** What the orders are to share, and which these are. */
function Related(props: {
  to: string;
  shared: readonly SharedKind[];
  onChange: (shared: readonly SharedKind[]) => void;
}) {
  const { to, shared, onChange } = props;
  const { data, error, reload } = useData(
    async (signal) => {
      if (shared.length === 0) return { data: [], has_more: false };
      const params = { path: { id: to }, query: { shared: shared.join(',') } };
      return await take(api.GET('/v1/conversions/{id}/related', { params, signal }));
    },
    [to, shared],
  );
  return (
    <fieldset class="stack">
      <legend>{t('cases.orders_in_review_that_share')}</legend>
      <div class="checks">
        {KINDS.map((kind) => (
          <Check
            key={kind}
            label={SHARED_TEXTS[kind]}
            checked={shared.includes(kind)}
            onChange={(isOn) => onChange(isOn ? [...shared, kind] : shared.filter((one) => one !== kind))}
          />
        ))}
      </div>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <p class="hint" role="status">
          {t('cases.found_orders', {
            count: data.data.length,
            sum: sumText(data.data.map(({ amount }) => amount)),
          })}{' '}
          {data.has_more && t('cases.there_are_more')}
        </p>
      )}
    </fieldset>
  );
}
