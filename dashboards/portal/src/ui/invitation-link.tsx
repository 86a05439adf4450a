import { CopyText } from './basics.tsx';
import { Dialog } from './forms.tsx';

/** The link of an invitation that no mail brings, shown once to who has invited. */
export function InvitationLink({ link, onClose }: { link: string; onClose: () => void }) {
  return (
    <Dialog title="Pass the link on" onClose={onClose}>
      <div class="stack">
        <p>
          There is no mail server, so this link reaches no one by itself. It sets the password of the new
          login, is good for a week and for one use, and is shown only here.
        </p>
        <CopyText text={link} label="invitation link" />
      </div>
    </Dialog>
  );
}
