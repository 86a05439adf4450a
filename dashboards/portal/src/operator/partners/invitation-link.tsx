import { t } from '../../text/t.ts';
import { CopyText } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';

/** The link of an invitation that no mail brings, shown once to who has invited. */
export function InvitationLink({ link, onClose }: { link: string; onClose: () => void }) {
  return (
    <Dialog title={t('invitation.pass_the_link_on')} onClose={onClose}>
      <div class="stack">
        <p> {t('invitation.there_is_no_mail_server')}</p>
        <CopyText text={link} label={t('invitation.invitation_link')} />
      </div>
    </Dialog>
  );
}
