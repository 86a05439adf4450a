import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';
import { formatTime, TIME_ZONE, words, ZONE_NAME } from '../text/format.ts';
import { chooseLanguage, LANGUAGE, LANGUAGES, languageName } from '../text/language.ts';
import { t } from '../text/t.ts';
import { Select } from '../ui/forms.tsx';
import { CountedTo } from '../ui/freshness.tsx';
import { Link } from './router.tsx';
import { useSession } from './session.tsx';

/** The frame of every page: navigation, user, freshness. */

export interface PageGroup {
  readonly title: string;
  readonly pages: readonly {
    readonly path: string;
    readonly title: string;
    /** Roles with access; without it, every role of the list. */
    readonly roles?: readonly Schemas['User']['role'][];
    /** Covers all programs: for users without a program only. */
    readonly acrossPrograms?: boolean;
  }[];
}

export function Shell(props: {
  groups: readonly PageGroup[];
  path: string;
  onTheme: () => void;
  children: ComponentChildren;
}) {
  const { path } = props;
  const { user, program, programs, chooseProgram, signOut, theme } = useSession();
  const [open, setOpen] = useState(false);
  // Going somewhere closes the menu
  useEffect(() => setOpen(false), [path]);
  return (
    <>
      <a class="skip" href="#main">
        {t('shell.skip_to_the_content')}
      </a>
      <div class="shell">
        <header class={open ? 'side open' : 'side'}>
          <div class="brand">
            <Link to="/" class="brand-name">
              <Mark />
              {t('shell.afflux')}
            </Link>
            <button
              type="button"
              class="menu"
              aria-expanded={open ? 'true' : 'false'}
              aria-controls="navigation"
              onClick={() => setOpen(!open)}
            >
              {t('shell.menu')}
            </button>
          </div>
          <div class="side-body" id="navigation">
            {programs.length > 1 && (
              <Select
                label={t('common.program')}
                value={program.id}
                onChange={chooseProgram}
                choices={programs.map(({ id, name }) => ({ value: id, text: name }))}
              />
            )}
            <nav aria-label={t('shell.pages')}>
              {pagesFor(props.groups, user).map((group) => (
                <div key={group.title} class="nav-group">
                  {group.title !== '' && <h2>{group.title}</h2>}
                  <ul>
                    {group.pages.map(({ path: to, title }) => (
                      <li key={to}>
                        <Link to={to} current={isWithin(path, to)}>
                          {title}
                        </Link>
                      </li>
                    ))}
                  </ul>
                </div>
              ))}
            </nav>
            <div class="side-foot">
              <CountedTo />
              <span class="muted small">{t('shell.times_in_zone', { zone: TIME_ZONE })}</span>
              <div class="who">
                <div>
                  <strong>{user.name}</strong>
                  <span class="muted small">{programs.length > 1 ? words(user.role) : program.name}</span>
                </div>
              </div>
              {LANGUAGES.length > 1 && (
                <Select
                  label={t('shell.language')}
                  value={LANGUAGE}
                  onChange={chooseLanguage}
                  choices={LANGUAGES.map((value) => ({ value, text: languageName(value) }))}
                />
              )}
              <div class="who-actions">
                <button type="button" class="quiet" onClick={props.onTheme}>
                  {theme === 'dark' ? t('shell.light_theme') : t('shell.dark_theme')}
                </button>
                <button type="button" class="quiet" onClick={signOut}>
                  {t('common.sign_out')}
                </button>
              </div>
            </div>
          </div>
        </header>
        <main id="main" tabIndex={-1}>
          <PrintHead />
          {props.children}
        </main>
      </div>
    </>
  );
}

/** Whose page it is and when it was printed: on paper, the menu is left out. */
function PrintHead() {
  const { user, program } = useSession();
  const now = new Date().toISOString();
  return (
    <p class="print-only print-head">
      <strong>{program.name}</strong>
      <span>
        {user.name}, {formatTime(now)} {ZONE_NAME}
      </span>
    </p>
  );
}

/** Pages of the user's role; empty groups are omitted. */
function pagesFor(groups: readonly PageGroup[], user: Schemas['User']): readonly PageGroup[] {
  return groups
    .map(({ title, pages }) => ({
      title,
      pages: pages.filter(
        ({ roles, acrossPrograms }) =>
          (!roles || roles.includes(user.role)) && (!acrossPrograms || user.program_id === null),
      ),
    }))
    .filter(({ pages }) => pages.length > 0);
}

function isWithin(path: string, to: string): boolean {
  return to === '/' ? path === '/' : path === to || path.startsWith(`${to}/`);
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M9 23 16 8l7 15M12 17.500h8" />
    </svg>
  );
}
