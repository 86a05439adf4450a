/** Scripts cannot read the session's cookie: this marks that a session may exist. */

const KEY = 'afflux-signed-in';

export function markSignedIn(): void {
  localStorage.setItem(KEY, 'yes');
}

export function mayBeSignedIn(): boolean {
  return localStorage.getItem(KEY) !== null;
}
