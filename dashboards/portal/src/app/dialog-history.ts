import { useEffect } from 'preact/hooks';

/**
 * Back closes an open dialog instead of leaving its page: while dialogs are open, one entry of the history stands for them
 * above that of the page.
 */

const STATE = { dialog: true };

/** What Back does with each open dialog, the last one on top. */
const open: (() => void)[] = [];

export function isDialogEntry(): boolean {
  return (window.history.state as typeof STATE | null)?.dialog === true;
}

function enter(): void {
  if (!isDialogEntry()) window.history.pushState(STATE, '', window.location.href);
}

function leaveSoon(): void {
  // A dialog that follows another in the same moment takes over its entry.
  setTimeout(() => {
    if (open.length === 0 && isDialogEntry()) window.history.back();
  });
}

/** To be called once: a reloaded page has no open dialogs. */
export function startDialogHistory(): void {
  if (isDialogEntry()) window.history.replaceState(null, '', window.location.href);
  window.addEventListener('popstate', () => {
    if (isDialogEntry()) {
      // Forward to a dialog that is closed
      if (open.length === 0) window.history.back();
      return;
    }
    open.at(-1)?.();
  });
}

/** Of an open dialog: Back closes it, and does nothing where the dialog cannot be closed. */
export function useDialogEntry(close: (() => void) | undefined): void {
  useEffect(() => {
    const closeThis = () => {
      close?.();
      // This one or those below stay open.
      if (!close || open.length > 1) enter();
    };
    open.push(closeThis);
    enter();
    return () => {
      open.splice(open.indexOf(closeThis), 1);
      leaveSoon();
    };
  }, []);
}
