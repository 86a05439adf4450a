import type { ComponentChildren, ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';

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
  const method = options.replace ? 'replaceState' : 'pushState';
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

/** A parameter of the address, so that a filtered page can be bookmarked and shared. */
export function useParameter(name: string, fallback = ''): [string, (value: string) => void] {
  const read = () => new URLSearchParams(window.location.search).get(name) ?? fallback;
  const [value, setValue] = useState(read);
  useEffect(() => {
    const follow = () => setValue(read());
    window.addEventListener('popstate', follow);
    return () => window.removeEventListener('popstate', follow);
  }, []);
  function change(next: string): void {
    const query = new URLSearchParams(window.location.search);
    if (next === fallback) query.delete(name);
    else query.set(name, next);
    const text = query.toString();
    window.history.replaceState(null, '', `${window.location.pathname}${text === '' ? '' : `?${text}`}`);
    setValue(next);
  }
  return [value, change];
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
