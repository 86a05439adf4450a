import type { ComponentChildren, ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { isDialogEntry } from './dialog-history.ts';

/** Routing below /portal/ without a library; the page follows the address bar. */

const BASE = '/portal';

export interface Route {
  /** `/links/:id`; parameters are passed to the page. */
  readonly path: string;
  readonly page: ComponentType<{ params: Readonly<Record<string, string>> }>;
}

function current(): string {
  return window.location.pathname.slice(BASE.length) || '/';
}

export function href(path: string): string {
  return `${BASE}${path}`;
}

export function navigate(path: string, options: { replace?: boolean } = {}): void {
  // The entry of a dialog is of no use once its page is left.
  const method = options.replace || isDialogEntry() ? 'replaceState' : 'pushState';
  window.history[method](null, '', href(path));
  window.dispatchEvent(new Event('popstate'));
}

/** Names the document by the heading of its page; after navigation (`isMoved`) the focus goes there. */
export function showHeading({ isMoved }: { isMoved: boolean }): void {
  const heading = document.querySelector<HTMLElement>('main h1');
  document.title = heading ? `${heading.textContent} – Afflux` : 'Afflux';
  if (!isMoved) return;
  window.scrollTo(0, 0);
  heading?.focus({ preventScroll: true });
}

/** The current path, e.g. `/links`. */
export function usePath(): string {
  const [path, setPath] = useState(current);
  useEffect(() => {
    const follow = () => setPath(current());
    window.addEventListener('popstate', follow);
    return () => window.removeEventListener('popstate', follow);
  }, []);
  return path;
}

type Changes<Name extends string> = Readonly<Partial<Record<Name, string>>>;

/**
 * Parameters of the address, so that a filtered page can be bookmarked, shared, and left by Back. Each change is an entry
 * of the history of its own, unless `replace` is given.
 */
export function useParameters<Name extends string>(
  names: readonly Name[],
): [Readonly<Record<Name, string>>, (changes: Changes<Name>, options?: { replace?: boolean }) => void] {
  const read = () => {
    const query = new URLSearchParams(window.location.search);
    return Object.fromEntries(names.map((name) => [name, query.get(name) ?? ''])) as Record<Name, string>;
  };
  const [values, setValues] = useState(read);
  useEffect(() => {
    const follow = () => {
      const next = read();
      // The same values stay the same object, so that nothing is loaded again.
      setValues((before) => (names.every((name) => before[name] === next[name]) ? before : next));
    };
    window.addEventListener('popstate', follow);
    return () => window.removeEventListener('popstate', follow);
  }, []);
  function change(changes: Changes<Name>, options: { replace?: boolean } = {}): void {
    const query = new URLSearchParams(window.location.search);
    for (const [name, value] of Object.entries<string | undefined>(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    const address = `${window.location.pathname}${text === '' ? '' : `?${text}`}`;
    window.history[options.replace ? 'replaceState' : 'pushState'](null, '', address);
    setValues(read());
  }
  return [values, change];
}

/** One parameter of the address; `fallback` stands for none. */
export function useParameter(name: string, fallback = ''): [string, (value: string) => void] {
  const [values, change] = useParameters([name]);
  return [values[name] || fallback, (value) => change({ [name]: value === fallback ? '' : value })];
}

export function findRoute(
  routes: readonly Route[],
  path: string,
): { route: Route; params: Record<string, string> } | undefined {
  const parts = path.split('/');
  for (const route of routes) {
    const wanted = route.path.split('/');
    if (wanted.length !== parts.length) continue;
    if (!wanted.every((part, i) => part.startsWith(':') || part === parts[i])) continue;
    const named = wanted.flatMap((part, i) =>
      part.startsWith(':') ? [[part.slice(1), decoded(parts[i] ?? '')]] : [],
    );
    return { route, params: Object.fromEntries(named) };
  }
  return undefined;
}

/** A part of an address; one that is no UTF-8 stays as it is, and names nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** A link within the portal; with a modifier key it opens as any other. */
export function Link(props: {
  to: string;
  class?: string;
  current?: boolean;
  label?: string;
  children: ComponentChildren;
}) {
  return (
    <a
      href={href(props.to)}
      class={props.class}
      aria-label={props.label}
      aria-current={props.current ? 'page' : undefined}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        navigate(props.to);
      }}
    >
      {props.children}
    </a>
  );
}
