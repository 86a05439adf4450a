import { PasswordCard } from '../../account/password.tsx';
import { SecondFactorCard } from '../../account/second-factor.tsx';
import { SessionsCard } from '../../account/sessions.tsx';
import { useSession } from '../../app/session.tsx';
import { words } from '../../text/format.ts';
import { Card, Page } from '../../ui/basics.tsx';

export function AccountPage() {
  const { user } = useSession();
  return (
    <Page title="Your account" lead="Your user, your sign-in and your sessions.">
      <div class="grid">
        <Card title="You">
          <dl class="facts">
            <dt>Name</dt>
            <dd>{user.name}</dd>
            <dt>E-mail address</dt>
            <dd>{user.email}</dd>
            <dt>Role</dt>
            <dd>{words(user.role)}</dd>
            <dt>For</dt>
            <dd>{user.program_id ?? 'all programs'}</dd>
          </dl>
        </Card>
        <PasswordCard />
        <SecondFactorCard />
      </div>
      <SessionsCard />
    </Page>
  );
}
