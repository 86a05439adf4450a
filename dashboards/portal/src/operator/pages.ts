import type { Route } from '../router.tsx';
import type { PageGroup } from '../shell.tsx';
import { WebhooksPage } from '../ui/webhooks.tsx';
import { AccountPage } from './account.tsx';
import { AffiliatesPage } from './affiliates.tsx';
import { ApiKeysPage } from './api-keys.tsx';
import { AuditLogPage } from './audit-log.tsx';
import { CampaignsPage } from './campaigns.tsx';
import { ConversionsPage } from './conversions.tsx';
import { DeadLettersPage } from './dead-letters.tsx';
import { ImportsPage } from './imports.tsx';
import { LinksPage } from './links.tsx';
import { OverviewPage } from './overview.tsx';
import { PayoutsPage } from './payouts.tsx';
import { PostbackCallsPage } from './postback-calls.tsx';
import { ReconciliationPage } from './reconciliation.tsx';
import { ReportsPage } from './reports.tsx';
import { ReviewsPage } from './reviews.tsx';
import { TermsPage } from './terms.tsx';
import { UsersPage } from './users.tsx';
import { VelocityPage } from './velocity.tsx';

/** What an operator can go to, and the roles that do a part of its work. */
export const operatorPages: { readonly routes: readonly Route[]; readonly groups: readonly PageGroup[] } = {
  routes: [
    { path: '/', page: OverviewPage },
    { path: '/reports', page: ReportsPage },
    { path: '/affiliates', page: AffiliatesPage },
    { path: '/campaigns', page: CampaignsPage },
    { path: '/terms', page: TermsPage },
    { path: '/links', page: LinksPage },
    { path: '/conversions', page: ConversionsPage },
    { path: '/reviews', page: ReviewsPage },
    { path: '/velocity', page: VelocityPage },
    { path: '/payouts', page: PayoutsPage },
    { path: '/reconciliation', page: ReconciliationPage },
    { path: '/postback-calls', page: PostbackCallsPage },
    { path: '/webhooks', page: WebhooksPage },
    { path: '/dead-letters', page: DeadLettersPage },
    { path: '/imports', page: ImportsPage },
    { path: '/audit-log', page: AuditLogPage },
    { path: '/users', page: UsersPage },
    { path: '/api-keys', page: ApiKeysPage },
    { path: '/account', page: AccountPage },
  ],
  groups: [
    {
      title: '',
      pages: [
        { path: '/', title: 'Overview' },
        { path: '/reports', title: 'Reports' },
      ],
    },
    {
      title: 'Programme',
      pages: [
        { path: '/affiliates', title: 'Partners', roles: ['operator', 'finance', 'fraud'] },
        { path: '/campaigns', title: 'Campaigns', roles: ['operator'] },
        { path: '/terms', title: 'Terms', roles: ['operator', 'finance'] },
        { path: '/links', title: 'Links and routing', roles: ['operator'] },
      ],
    },
    {
      title: 'Orders',
      pages: [
        { path: '/conversions', title: 'Conversions' },
        { path: '/reviews', title: 'Review queue', roles: ['operator', 'fraud'] },
        { path: '/velocity', title: 'Velocity', roles: ['operator', 'fraud'], acrossPrograms: true },
      ],
    },
    {
      title: 'Money',
      pages: [
        { path: '/payouts', title: 'Payouts', roles: ['operator', 'finance'] },
        {
          path: '/reconciliation',
          title: 'Reconciliation',
          roles: ['operator', 'finance'],
          acrossPrograms: true,
        },
      ],
    },
    {
      title: 'Running it',
      pages: [
        { path: '/postback-calls', title: 'Postback calls', roles: ['operator', 'fraud', 'advertiser'] },
        { path: '/webhooks', title: 'Webhooks', roles: ['operator', 'advertiser'] },
        { path: '/dead-letters', title: 'Dead letters', roles: ['operator'], acrossPrograms: true },
        { path: '/imports', title: 'Imports', roles: ['operator'] },
        { path: '/audit-log', title: 'Audit log', roles: ['operator', 'finance', 'fraud'] },
        { path: '/users', title: 'Users', roles: ['operator'] },
        { path: '/api-keys', title: 'API keys', roles: ['operator', 'advertiser'] },
        { path: '/account', title: 'Your account' },
      ],
    },
  ],
};
