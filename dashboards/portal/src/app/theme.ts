import { useEffect, useState } from 'preact/hooks';

/** Light or dark as the system says, unless the reader chose one. */

const KEY = 'afflux-theme';
const dark = window.matchMedia('(prefers-color-scheme: dark)');

function read(): string {
  return document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light');
}

/** Before anything is drawn. */
export function applyTheme(): void {
  const chosen = localStorage.getItem(KEY);
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
}

export function useTheme(): { theme: string; toggle: () => void } {
  const [theme, setTheme] = useState(read);
  useEffect(() => {
    const follow = () => setTheme(read());
    dark.addEventListener('change', follow);
    return () => dark.removeEventListener('change', follow);
  }, []);
  function toggle(): void {
    const next = theme === 'dark' ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEY, next);
    setTheme(next);
  }
  return { theme, toggle };
}
