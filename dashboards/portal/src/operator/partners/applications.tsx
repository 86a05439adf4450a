import { useState } from 'preact/hooks';
import { Link, useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Segments, TextArea, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { InvitationLink } from './invitation-link.tsx';
import { Similar } from './similar.tsx';

type Application = Schemas['Application'];

const STATES = [
  { value: 'pending', text: t('applications.to_decide') },
  { value: 'approved', text: t('name.approved') },
  { value: 'rejected', text: t('common.rejected') },
];

/** Who has applied by the sign-up page and confirmed the address. */
export function ApplicationsPage() {
  const { program } = useSession();
  const [state, setState] = useParameter('state', 'pending');
  const [shown, setShown] = useState<Application>();
  const [link, setLink] = useState<string>();
  const list = useList((query, signal) => api.GET('/v1/applications', { params: { query }, signal }), {
    query: { program_id: program.id, state },
  });
  return (
    <Page title={t('common.applications')} lead={t('applications.who_has_applied')}>
      <Card>
        <div class="filters above">
          <Segments label={t('applications.state')} value={state} onChange={setState} choices={STATES} />
        </div>
        <ListTable
          label={t('common.applications')}
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('applications.no_applications')}>
              {' '}
              {rich('applications.they_appear_here', {
                link: (text) => <Link to="/sign-up">{text}</Link>,
              })}
            </Empty>
          }
          columns={[
            {
              title: t('applications.applicant'),
              head: true,
              cell: ({ name, email }) => (
                <>
                  {name}
                  <span class="sub">{email}</span>
                </>
              ),
            },
            {
              title: t('applications.first_answer'),
              cell: ({ answers }) => <span class="clip">{answers[0]?.answer}</span>,
            },
            { title: t('name.country'), cell: ({ country }) => country ?? '–' },
            {
              title: t('applications.applied_zone', { zone: ZONE_NAME }),
              cell: ({ applied_at }) => <When at={applied_at} />,
            },
            { title: t('applications.state'), cell: ({ state: one }) => <Status of={one} /> },
            {
              title: '',
              cell: (application) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(application)}
                    label={t('applications.open_named', { name: application.name })}
                  >
                    {' '}
                    {t('common.open')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown && (
        <Details
          application={shown}
          onClose={() => setShown(undefined)}
          onDecided={(invitation) => {
            setShown(undefined);
            setLink(invitation ?? undefined);
            list.reload();
          }}
        />
      )}
      {link !== undefined && <InvitationLink link={link} onClose={() => setLink(undefined)} />}
    </Page>
  );
}

interface DetailsProps {
  readonly application: Application;
  readonly onClose: () => void;
  /** With the link of the new login, where no mail brings it. */
  readonly onDecided: (link: string | null) => void;
}

function Details({ application, onClose, onDecided }: DetailsProps) {
  const params = { path: { id: application.id } };
  const { data, error, reload } = useData(
    async (signal) => await take(api.GET('/v1/applications/{id}', { params, signal })),
    [application.id],
  );
  return (
    <Dialog title={application.name} onClose={onClose}>
      <div class="stack">
        <Problem error={error} onRetry={reload} />
        {!data && error === undefined && <Loading />}
        {data && (
          <>
            <Facts application={data} />
            <Similar affiliates={data.similar} />
            {data.state === 'pending' && <Decision application={data} onDecided={onDecided} />}
            {data.state !== 'approved' && <Forget application={data} onDecided={onDecided} />}
          </>
        )}
      </div>
    </Dialog>
  );
}

function Facts({ application }: { application: Schemas['ApplicationDetails'] }) {
  const { conditions, conditions_version: version } = application;
  return (
    <>
      <dl class="facts">
        <dt>{t('common.e_mail_address')}</dt>
        <dd>
          {' '}
          {rich('applications.address_confirmed', {
            email: application.email,
            at: <When at={application.confirmed_at} />,
          })}
        </dd>
        <dt>{t('applications.country_as_said')}</dt>
        <dd>{application.country ?? t('common.none_given')}</dd>
        {application.answers.flatMap(({ label, answer }) => [
          <dt key={label}>{label}</dt>,
          <dd key={`${label} answer`} class="message">
            {answer}
          </dd>,
        ])}
        <dt>{t('applications.conditions_accepted')}</dt>
        <dd>
          {' '}
          {version === null
            ? t('common.none_given')
            : rich('applications.version_at', {
                version: String(version),
                at: <When at={application.applied_at} />,
              })}
        </dd>
        {application.note !== null && (
          <>
            <dt>{t('affiliates.note')}</dt>
            <dd class="message">{application.note}</dd>
          </>
        )}
      </dl>
      {conditions && (
        <details>
          <summary>{t('applications.conditions_version', { version: conditions.version })}</summary>
          <p class="message">{conditions.text}</p>
        </details>
      )}
    </>
  );
}

function Decision({ application, onDecided }: Omit<DetailsProps, 'onClose'>) {
  const [attempt] = useState(newAttempt);
  const [note, setNote] = useState('');
  const [refCode, setRefCode] = useState('');
  const params = { path: { id: application.id }, header: attempt };
  const approve = useAction(async () => {
    const body = { ...(note.trim() !== '' && { note }), ...(refCode.trim() !== '' && { ref_code: refCode }) };
    onDecided((await take(api.POST('/v1/applications/{id}/approve', { params, body }))).invitation_link);
  });
  const reject = useAction(async () => {
    const path = { id: application.id };
    await take(api.POST('/v1/applications/{id}/reject', { params: { path }, body: { note } }));
    onDecided(null);
  });
  const faults = fieldProblems(approve.error ?? reject.error);
  return (
    <>
      <TextArea
        label={t('affiliates.note')}
        rows={2}
        value={note}
        onChange={setNote}
        fault={faults.note}
        hint={t('applications.mailed_to_the_applicant')}
      />
      <TextField
        label={t('common.reference')}
        value={refCode}
        onChange={setRefCode}
        fault={faults.ref_code}
        hint={t('applications.a_short_name')}
      />
      <Problem error={faults.note || faults.ref_code ? undefined : (approve.error ?? reject.error)} />
      <div class="form-end">
        <Button kind="primary" busy={approve.busy} onClick={() => void approve.run()}>
          {' '}
          {t('common.approve')}
        </Button>
        <Button
          kind="danger"
          busy={reject.busy}
          disabled={note.trim() === ''}
          onClick={() => void reject.run()}
        >
          {' '}
          {t('common.reject')}
        </Button>
      </div>
    </>
  );
}

/** For who asks to be forgotten. */
function Forget({ application, onDecided }: Omit<DetailsProps, 'onClose'>) {
  const { run, busy, error } = useAction(async () => {
    await take(api.DELETE('/v1/applications/{id}', { params: { path: { id: application.id } } }));
    onDecided(null);
  });
  return (
    <details>
      <summary>{t('applications.forget_the_applicant')}</summary>
      <Problem error={error} />
      <p class="muted">{t('applications.deleted_for_good')}</p>
      <Button kind="danger" busy={busy} onClick={() => void run()}>
        {t('applications.delete_the_application')}
      </Button>
    </details>
  );
}
