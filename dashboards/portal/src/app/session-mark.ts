/** Scripts cannot read the session's cookie: this marks that a session may exist, each one by a mark of its own. */

const KEY = 'afflux-signed-in';

export function markSignedIn(): void {
  localStorage.setItem(KEY, crypto.randomUUID());
}

export function mayBeSignedIn(): boolean {
  return localStorage.getItem(KEY) !== null;
}

/** Called when somebody has signed in in another tab: the cookie is of that session now. @returns To end it. */
export function whenSignedInElsewhere(call: () => void): () => void {
  const look = ({ key }: StorageEvent) => {
    if (key === KEY) call();
  };
  window.addEventListener('storage', look);
  return () => window.removeEventListener('storage', look);
}
