import { PasswordCard } from '../../account/password.tsx';
import { SecondFactorCard } from '../../account/second-factor.tsx';
import { SessionsCard } from '../../account/sessions.tsx';
import { useSession } from '../../app/session.tsx';
import { words } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Card, Page } from '../../ui/basics.tsx';

export function AccountPage() {
  const { user, programs } = useSession();
  return (
    <Page title={t('common.your_account')} lead={t('account.your_user_your_sign_in')}>
      <div class="grid">
        <Card title={t('common.you')}>
          <dl class="facts">
            <dt>{t('common.name')}</dt>
            <dd>{user.name}</dd>
            <dt>{t('common.e_mail_address')}</dt>
            <dd>{user.email}</dd>
            <dt>{t('common.role')}</dt>
            <dd>{words(user.role)}</dd>
            <dt>{t('common.for')}</dt>
            <dd>
              {programs.find(({ id }) => id === user.program_id)?.name ??
                user.program_id ??
                t('common.all_programs')}
            </dd>
          </dl>
        </Card>
        <PasswordCard />
        <SecondFactorCard />
      </div>
      <SessionsCard />
    </Page>
  );
}
