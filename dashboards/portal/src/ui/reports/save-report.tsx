import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { TIME_ZONE, weekdayName, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Check, Dialog, Form, Select, TextField } from '../forms.tsx';

/** What a saved report is made of, in a dialog: for a new one, and for a change. */

type Saved = Schemas['SavedReport'];
export type ReportParameters = Readonly<Record<string, string>>;
type Every = NonNullable<Saved['schedule']>['every'];

/** Roles with webhooks, as the API has it. */
const HAS_WEBHOOKS: readonly string[] = ['operator', 'affiliate', 'advertiser'];
/** Roles that see what others of them share. */
const TEAM: readonly string[] = ['operator', 'finance', 'fraud'];
const FORMATS = ['csv', 'parquet', 'arrow'] as const;
const NEVER = 'never';

export const RANGES: Readonly<Record<Saved['range'], string>> = {
  yesterday: t('savedReports.yesterday'),
  last_7_days: t('savedReports.last_7_days'),
  last_30_days: t('savedReports.last_30_days'),
  last_90_days: t('savedReports.last_90_days'),
  last_week: t('savedReports.last_week'),
  last_month: t('savedReports.last_month'),
};

const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
const hourText = (hour: number): string => `${String(hour).padStart(2, '0')}:00`;

export function SaveReport(props: {
  /** The report as it is; of a change. */
  saved?: Saved;
  query: ReportParameters;
  range: Saved['range'];
  onClose: () => void;
  onSaved: () => void;
}) {
  const { saved, query, onClose, onSaved } = props;
  const { program, user } = useSession();
  const [attempt] = useState(newAttempt);
  const [fields, setFields] = useState({
    name: saved?.name ?? '',
    range: saved?.range ?? props.range,
    format: saved?.format ?? 'csv',
    every: saved?.schedule?.every ?? NEVER,
    day: String(saved?.schedule?.day ?? 1),
    hour: String(saved?.schedule?.hour ?? 7),
    mail: saved?.mail ?? true,
    shared: saved?.shared ?? false,
    webhook: saved?.webhook_id ?? '',
  });
  const change = (changes: Partial<typeof fields>) => setFields({ ...fields, ...changes });
  const { run, busy, error } = useAction(async () => {
    const { name, range, format, every, day, hour, mail, shared, webhook } = fields;
    const schedule =
      every === NEVER
        ? null
        : { every: every as Every, day: every === 'day' ? null : Number(day), hour: Number(hour) };
    const body = {
      ...{ name, range, format, shared, schedule },
      time_zone: saved?.time_zone ?? TIME_ZONE,
      mail: schedule !== null && mail,
      webhook_id: schedule === null || webhook === '' ? null : webhook,
    };
    if (saved) {
      await take(api.PATCH('/v1/saved-reports/{id}', { params: { path: { id: saved.id } }, body }));
    } else {
      const params = { header: attempt };
      await take(
        api.POST('/v1/saved-reports', {
          params,
          body: { ...body, query: { ...query }, program_id: program.id },
        }),
      );
    }
    onSaved();
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title={saved ? saved.name : t('savedReports.save_report')} onClose={onClose}>
      <Form
        submit={t('common.save')}
        busy={busy}
        error={faults.name ? undefined : error}
        onSubmit={() => void run()}
        onCancel={onClose}
      >
        <TextField
          label={t('common.name')}
          value={fields.name}
          onChange={(name) => change({ name })}
          fault={faults.name}
          required
        />
        <Select
          label={t('common.period')}
          value={fields.range}
          onChange={(range) => change({ range: range as Saved['range'] })}
          choices={Object.entries(RANGES).map(([value, text]) => ({ value, text }))}
        />
        <Select
          label={t('common.file')}
          value={fields.format}
          onChange={(format) => change({ format: format as Saved['format'] })}
          choices={FORMATS.map((value) => ({ value, text: value === 'csv' ? 'CSV' : titled(value) }))}
        />
        <When fields={fields} change={change} zone={saved?.time_zone ?? ZONE_NAME} />
        {fields.every !== NEVER && (
          <>
            <Check
              label={t('savedReports.mail_to_you', { email: user.email })}
              checked={fields.mail}
              onChange={(mail) => change({ mail })}
            />
            {HAS_WEBHOOKS.includes(user.role) && (
              <Webhooks value={fields.webhook} onChange={(webhook) => change({ webhook })} />
            )}
          </>
        )}
        {TEAM.includes(user.role) && (
          <Check
            label={t('savedReports.share_with_team')}
            checked={fields.shared}
            onChange={(shared) => change({ shared })}
          />
        )}
      </Form>
    </Dialog>
  );
}

const titled = (word: string): string => word[0]?.toUpperCase() + word.slice(1);

function When(props: {
  fields: { every: string; day: string; hour: string };
  change: (changes: { every?: string; day?: string; hour?: string }) => void;
  zone: string;
}) {
  const { fields, change, zone } = props;
  const days = fields.every === 'week' ? numbers(1, 7) : numbers(1, 31);
  return (
    <>
      <Select
        label={t('savedReports.schedule')}
        value={fields.every}
        onChange={(every) => change({ every, day: '1' })}
        choices={[
          { value: NEVER, text: t('savedReports.by_hand') },
          { value: 'day', text: t('savedReports.every_day') },
          { value: 'week', text: t('savedReports.every_week') },
          { value: 'month', text: t('savedReports.every_month') },
        ]}
      />
      {(fields.every === 'week' || fields.every === 'month') && (
        <Select
          label={t('savedReports.on_day')}
          value={fields.day}
          onChange={(day) => change({ day })}
          choices={days.map((day) => ({
            value: String(day),
            text: fields.every === 'week' ? weekdayName(day) : String(day),
          }))}
        />
      )}
      {fields.every !== NEVER && (
        <Select
          label={t('savedReports.at_hour_zone', { zone })}
          value={fields.hour}
          onChange={(hour) => change({ hour })}
          choices={numbers(0, 23).map((hour) => ({ value: String(hour), text: hourText(hour) }))}
          hint={t('savedReports.made_when_complete')}
        />
      )}
    </>
  );
}

/** Those that the report may go to: of the reader's own role. */
function Webhooks({ value, onChange }: { value: string; onChange: (id: string) => void }) {
  const { program, user } = useSession();
  const { data } = useData(
    async (signal) => {
      const query = { program_id: program.id };
      return await take(api.GET('/v1/webhooks', { params: { query }, signal }));
    },
    [program.id],
    { page: 'report-webhooks' },
  );
  const own = (data?.data ?? []).filter(({ kind, role }) => kind === 'webhook' && role === user.role);
  if (own.length === 0) return null;
  return (
    <Select
      label={t('savedReports.webhook')}
      value={value}
      onChange={onChange}
      choices={[
        { value: '', text: t('common.none') },
        ...own.map(({ id, url }) => ({ value: id, text: url })),
      ]}
    />
  );
}
