import { useState } from 'preact/hooks';
import { Link } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { weekdayName } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Problem, When } from '../basics.tsx';
import { Dialog, Form } from '../forms.tsx';
import { isFiltered } from '../list-tools.tsx';
import { ListTable } from '../table.tsx';
import { RANGES, SaveReport } from './save-report.tsx';

/** Saved reports of the reader and of the team, with what was made by the clock and what comes next. */

type Saved = Schemas['SavedReport'];

const TOOLS = { search: t('common.name') };
/** `version` changes when a report was saved elsewhere on the page. */
export function SavedReports({ version }: { version: number }) {
  const { program } = useSession();
  const list = useList((query, signal) => api.GET('/v1/saved-reports', { params: { query }, signal }), {
    query: { program_id: program.id },
    prefix: 'saved_',
  });
  const [seen, setSeen] = useState(version);
  if (seen !== version) {
    setSeen(version);
    list.reload();
  }
  if (list.error === undefined && (list.rows ?? []).length === 0 && !isFiltered(list)) return null;
  return (
    <Card title={t('savedReports.title')}>
      <ListTable
        label={t('savedReports.title')}
        list={list}
        tools={TOOLS}
        rowKey={({ id }) => id}
        empty={null}
        columns={[
          {
            title: t('common.name'),
            head: true,
            sort: 'name',
            cell: (report) => (
              <>
                <Link to={`/reports?saved=${report.id}`}>{report.name}</Link>
                <span class="sub">
                  {RANGES[report.range]}
                  {!report.is_own && <>, {t('savedReports.of_the_team')}</>}
                </span>
              </>
            ),
          },
          { title: t('savedReports.schedule'), cell: (report) => <Schedule report={report} /> },
          { title: t('savedReports.last_run'), cell: (report) => <LastRun report={report} /> },
          {
            title: '',
            cell: (report) => report.may_delete && <Controls report={report} onChanged={list.reload} />,
          },
        ]}
      />
    </Card>
  );
}

function Schedule({ report }: { report: Saved }) {
  const { schedule, stopped_reason, next_run_at, time_zone } = report;
  if (!schedule) return <>–</>;
  const values = { hour: `${String(schedule.hour).padStart(2, '0')}:00`, zone: time_zone };
  const text =
    schedule.every === 'day'
      ? t('savedReports.daily_at', values)
      : schedule.every === 'week'
        ? t('savedReports.weekly_at', { ...values, day: weekdayName(schedule.day ?? 1) })
        : t('savedReports.monthly_at', { ...values, day: schedule.day ?? 1 });
  return (
    <>
      {text}
      <span class="sub">
        {stopped_reason === null
          ? rich('savedReports.next_run', { at: <When at={next_run_at} /> })
          : t('savedReports.stopped', { reason: stopped_reason })}
      </span>
    </>
  );
}

function LastRun({ report: { last_run: run } }: { report: Saved }) {
  if (!run) return <>–</>;
  if (run.state === 'failed') return <>{t('savedReports.failed', { reason: run.failure ?? '' })}</>;
  if (run.state === 'waiting') {
    return <>{rich('savedReports.waiting_since', { at: <When at={run.due_at} /> })}</>;
  }
  return (
    <>
      <When at={run.due_at} />
      <span class="sub">{t('savedReports.rows', { count: Number(run.rows) })}</span>
    </>
  );
}

function Controls({ report, onChanged }: { report: Saved; onChanged: () => void }) {
  const [asked, setAsked] = useState<'edit' | 'delete'>();
  const close = () => setAsked(undefined);
  const done = () => {
    close();
    onChanged();
  };
  return (
    <>
      <div class="actions">
        {report.last_run?.state === 'done' && <Download job={report.last_run.job_id} />}
        {report.is_own && <Button onClick={() => setAsked('edit')}>{t('common.edit')}</Button>}
        <Button onClick={() => setAsked('delete')}>{t('savedReports.delete')}</Button>
      </div>
      {asked === 'edit' && (
        <SaveReport saved={report} query={report.query} range={report.range} onClose={close} onSaved={done} />
      )}
      {asked === 'delete' && <Delete report={report} onClose={close} onDeleted={done} />}
    </>
  );
}

/** The link is in the job: it opens the file to every holder, so that lists do not show it. */
function Download({ job }: { job: string }) {
  const { run, busy, error } = useAction(async () => {
    const { result } = await take(api.GET('/v1/jobs/{id}', { params: { path: { id: job } } }));
    const { download_url: url = '' } = (result ?? {}) as { download_url?: string };
    // At the portal's own address, whatever the public one is.
    const { pathname, search } = new URL(url, window.location.origin);
    window.location.assign(`${pathname}${search}`);
  });
  return (
    <>
      <Button onClick={() => void run()} busy={busy}>
        {t('common.file')}
      </Button>
      <Problem error={error} />
    </>
  );
}

function Delete(props: { report: Saved; onClose: () => void; onDeleted: () => void }) {
  const { report, onClose, onDeleted } = props;
  const { run, busy, error } = useAction(async () => {
    await take(api.DELETE('/v1/saved-reports/{id}', { params: { path: { id: report.id } } }));
    onDeleted();
  });
  return (
    <Dialog title={t('savedReports.delete_question')} onClose={onClose}>
      <Form
        submit={t('savedReports.delete')}
        kind="danger"
        busy={busy}
        error={error}
        onSubmit={() => void run()}
        onCancel={onClose}
      >
        <p class="break">{report.name}</p>
        <p>{t('savedReports.made_no_more')}</p>
      </Form>
    </Dialog>
  );
}
