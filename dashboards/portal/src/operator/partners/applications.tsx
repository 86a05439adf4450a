import { useState } from 'preact/hooks';
import { Link, useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Segments, TextArea, TextField } from '../../ui/forms.tsx';
import { InvitationLink } from '../../ui/invitation-link.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { Similar } from './similar.tsx';

type Application = Schemas['Application'];

const STATES = [
  { value: 'pending', text: 'To decide' },
  { value: 'approved', text: 'Approved' },
  { value: 'rejected', text: 'Rejected' },
];

/** Who has applied by the sign-up page and confirmed the address. */
export function ApplicationsPage() {
  const { program } = useSession();
  const [state, setState] = useParameter('state', 'pending');
  const [shown, setShown] = useState<Application>();
  const [link, setLink] = useState<string>();
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: program.id, cursor, state: state as Application['state'] };
      return api.GET('/v1/applications', { params: { query }, signal });
    },
    [program.id, state],
  );
  return (
    <Page
      title="Applications"
      lead="Who has applied by the sign-up page and confirmed the address. Approving makes a partner with a login."
      actions={<Link to="/sign-up">Sign-up page</Link>}
    >
      <Card>
        <div class="filters above">
          <Segments label="State" value={state} onChange={setState} choices={STATES} />
        </div>
        <ListTable
          label="Applications"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No applications">
              They appear here once the applicant has confirmed the address. Switch the{' '}
              <Link to="/sign-up">sign-up page</Link> on to get some.
            </Empty>
          }
          columns={[
            {
              title: 'Applicant',
              head: true,
              cell: ({ name, email }) => (
                <>
                  {name}
                  <span class="sub">{email}</span>
                </>
              ),
            },
            { title: 'First answer', cell: ({ answers }) => <span class="clip">{answers[0]?.answer}</span> },
            { title: 'Country', cell: ({ country }) => country ?? '–' },
            { title: `Applied (${ZONE_NAME})`, cell: ({ applied_at }) => <When at={applied_at} /> },
            { title: 'State', cell: ({ state: one }) => <Status of={one} /> },
            {
              title: '',
              cell: (application) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(application)}
                    label={`Open the application of ${application.name}`}
                  >
                    Open
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
        <dt>E-mail address</dt>
        <dd>
          {application.email}, confirmed <When at={application.confirmed_at} />
        </dd>
        <dt>Country, as the applicant says</dt>
        <dd>{application.country ?? 'not named'}</dd>
        {application.answers.flatMap(({ label, answer }) => [
          <dt key={label}>{label}</dt>,
          <dd key={`${label} answer`} class="message">
            {answer}
          </dd>,
        ])}
        <dt>Conditions accepted</dt>
        <dd>
          {version === null ? (
            'There were none'
          ) : (
            <>
              Version {version}, <When at={application.applied_at} />
            </>
          )}
        </dd>
        {application.note !== null && (
          <>
            <dt>Note</dt>
            <dd class="message">{application.note}</dd>
          </>
        )}
      </dl>
      {conditions && (
        <details>
          <summary>Conditions, version {conditions.version}</summary>
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
        label="Note"
        rows={2}
        value={note}
        onChange={setNote}
        fault={faults.note}
        hint="Mailed to the applicant with the decision. Rejecting needs one."
      />
      <TextField
        label="Reference"
        value={refCode}
        onChange={setRefCode}
        fault={faults.ref_code}
        hint="A short name, unique in the program; empty: made of the name."
      />
      <Problem error={faults.note || faults.ref_code ? undefined : (approve.error ?? reject.error)} />
      <div class="form-end">
        <Button kind="primary" busy={approve.busy} onClick={() => void approve.run()}>
          Approve
        </Button>
        <Button
          kind="danger"
          busy={reject.busy}
          disabled={note.trim() === ''}
          onClick={() => void reject.run()}
        >
          Reject
        </Button>
      </div>
    </>
  );
}
