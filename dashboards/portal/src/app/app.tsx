import { useEffect, useRef, useState } from 'preact/hooks';
import { ConfirmSignIn } from '../account/confirm-sign-in.tsx';
import { Enrolment } from '../account/enrolment.tsx';
import {
  ApiProblem,
  api,
  type Schemas,
  SIGNED_IN,
  setSessionToken,
  take,
  takeAll,
  whenSessionReplaced,
  whenSignedOut,
} from '../data/api.ts';
import { forgetData, useData } from '../data/use-data.ts';
import { operatorPages } from '../operator/pages.ts';
import { NewProgram } from '../operator/setup/new-program.tsx';
import { partnerPages } from '../partner/pages.ts';
import { rich, t } from '../text/t.ts';
import { Loading, Page, Problem } from '../ui/basics.tsx';
import { useDialogEntry } from './dialog-history.ts';
import { lazyPage } from './lazy-page.tsx';
import { findRoute, href, navigate, showHeading, usePath } from './router.tsx';
import { SessionProvider } from './session.tsx';
import { markSignedIn, mayBeSignedIn, whenSignedInElsewhere } from './session-mark.ts';
import { RequestReset, SetPassword } from './set-password.tsx';
import { Setup } from './setup.tsx';
import { Shell } from './shell.tsx';
import { Front, SignIn } from './sign-in.tsx';
import { useTheme } from './theme.ts';

const PROGRAM_KEY = 'afflux-program';
const JOIN = '/join/';
const Join = lazyPage(async () => (await import('./join.tsx')).Join);
const ConfirmApplication = lazyPage(async () => (await import('./join.tsx')).ConfirmApplication);

/** The signed-in user; undefined without a session. */
async function readSession(signal?: AbortSignal): Promise<Schemas['Session'] | undefined> {
  if (!mayBeSignedIn()) return undefined;
  try {
    return await take(api.GET('/v1/session', signal ? { signal } : {}));
  } catch (error) {
    if (error instanceof ApiProblem && error.problem.status === 401) return undefined;
    throw error;
  }
}

/** A program requires a second factor: the API allows nothing else before. */
function mustEnrol({ second_factor }: Schemas['Session']): boolean {
  return second_factor.required && second_factor.enrolled_at === null;
}

export function App() {
  const path = usePath();
  if (path === '/setup') return <Setup />;
  if (path.startsWith(JOIN)) return <Join params={{ slug: path.slice(JOIN.length) }} />;
  if (path === '/confirm') return <ConfirmApplication params={{}} />;
  if (path === '/set-password') return <SetPassword />;
  if (path === '/forgotten') return <RequestReset />;
  return <WithSession />;
}

function WithSession() {
  const [wasSignedOut, setSignedOut] = useState(false);
  const { data, error, loading, reload } = useData(async (signal) => {
    const session = await readSession(signal);
    const programs =
      !session || mustEnrol(session)
        ? []
        : await takeAll((cursor) =>
            api.GET('/v1/programs', { params: { query: cursor ? { cursor } : {} }, signal }),
          );
    // Last: until its page is shown, nothing is sent as another user.
    setSessionToken(session?.csrf_token ?? '');
    return { session, programs };
  }, []);
  // With the page that was open when the session ended: what was typed there stays while its reader signs in again.
  const kept = useRef<typeof data>(undefined);
  const userId = useRef<string>(undefined);
  useEffect(() => {
    if (!data?.session) return;
    kept.current = data;
    userId.current = data.session.user.id;
    setSignedOut(false);
  }, [data]);
  useEffect(() => {
    whenSignedOut(() => {
      setSignedOut(true);
      reload();
    });
    whenSessionReplaced(async () => {
      const session = await readSession();
      if (session && session.user.id === userId.current) {
        setSessionToken(session.csrf_token);
        return true;
      }
      // What another user began is not sent as this one.
      reload();
      return false;
    });
    return whenSignedInElsewhere(reload);
  }, [reload]);
  const signedIn = () => {
    markSignedIn();
    reload();
  };
  if (error !== undefined && !data) {
    return (
      <main class="alone">
        <Problem error={error} onRetry={reload} />
      </main>
    );
  }
  if (!data) return loading ? <Loading /> : null;
  const shown = data.session ? data : wasSignedOut ? kept.current : undefined;
  if (!shown?.session) return <SignIn note={undefined} onSignedIn={signedIn} />;
  return (
    <>
      {mustEnrol(shown.session) ? (
        <Front title={t('common.set_up_a_second_factor')}>
          <p>{t('app.your_program_requires_a_second')}</p>
          <Enrolment onDone={reload} />
        </Front>
      ) : (
        <Portal
          key={shown.session.user.id}
          session={shown.session}
          programs={shown.programs}
          reload={reload}
          onSignOut={() => {
            setSignedOut(false);
            kept.current = undefined;
          }}
        />
      )}
      <ConfirmSignIn session={shown.session} />
      {!data.session && <SignInAgain onSignedIn={signedIn} />}
    </>
  );
}

/** Over the page, which it hides: the native dialog is above every other one. */
function SignInAgain({ onSignedIn }: { onSignedIn: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const show = () => dialog.current?.showModal();
  useEffect(show, []);
  // Back would take what was typed with the page below.
  useDialogEntry(undefined);
  useEffect(() => {
    const { title } = document;
    return () => {
      document.title = title;
      window.dispatchEvent(new Event(SIGNED_IN));
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="whole"
      aria-label={t('common.sign_in')}
      closedby="none"
      // For browsers that do not know this; they let the second Escape close it.
      onCancel={(event) => event.preventDefault()}
      onClose={show}
    >
      <SignIn note={t('app.your_session_has_ended_sign')} onSignedIn={onSignedIn} />
    </dialog>
  );
}

function Portal(props: {
  session: Schemas['Session'];
  programs: readonly Schemas['Program'][];
  reload: () => void;
  onSignOut: () => void;
}) {
  const { programs, reload } = props;
  const { user, second_factor: secondFactor } = props.session;
  const path = usePath();
  const { theme, toggle } = useTheme();
  const [programId, setProgramId] = useState(() => localStorage.getItem(PROGRAM_KEY));
  const program = programs.find(({ id }) => id === programId) ?? programs[0];
  const pages = user.affiliate_id === null ? operatorPages : partnerPages;
  const found = findRoute(pages.routes, path);
  const shown = useRef(path);
  // Another user begins with nothing of this one.
  useEffect(() => forgetData, []);
  useEffect(() => {
    // The first page is read from its top.
    showHeading({ isMoved: shown.current !== path });
    shown.current = path;
  }, [path]);

  async function signOut(): Promise<void> {
    props.onSignOut();
    await take(api.DELETE('/v1/session')).catch(() => undefined);
    setSessionToken('');
    navigate('/', { replace: true });
    reload();
  }
  if (!program) {
    return (
      <main class="alone">
        <Page title={t('app.no_programs_yet')} lead={t('app.a_program_is_the_affiliate')}>
          <NewProgram onMade={reload} />
        </Page>
      </main>
    );
  }
  const session = {
    user,
    program,
    programs,
    theme,
    secondFactor,
    reload,
    chooseProgram(id: string) {
      localStorage.setItem(PROGRAM_KEY, id);
      setProgramId(id);
    },
    signOut: () => void signOut(),
  };
  return (
    <SessionProvider value={session}>
      <Shell groups={pages.groups} path={path} onTheme={toggle}>
        {found ? (
          <found.route.page key={`${path} ${program.id}`} params={found.params} />
        ) : (
          <Page title={t('app.page_not_found')}>
            <p>{rich('app.go_to_the_overview', { link: (text) => <a href={href('/')}>{text}</a> })}</p>
          </Page>
        )}
      </Shell>
    </SessionProvider>
  );
}
