import type { Route } from '../router.tsx';
import type { PageGroup } from '../shell.tsx';
import { WebhooksPage } from '../ui/webhooks.tsx';
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

/** What an operator can go to. */
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
        { path: '/affiliates', title: 'Partners' },
        { path: '/campaigns', title: 'Campaigns' },
        { path: '/terms', title: 'Terms' },
        { path: '/links', title: 'Links and routing' },
      ],
    },
    {
      title: 'Orders',
      pages: [
        { path: '/conversions', title: 'Conversions' },
        { path: '/reviews', title: 'Review queue' },
        { path: '/velocity', title: 'Velocity' },
      ],
    },
    {
      title: 'Money',
      pages: [
        { path: '/payouts', title: 'Payouts' },
        { path: '/reconciliation', title: 'Reconciliation' },
      ],
    },
    {
      title: 'Running it',
      pages: [
        { path: '/postback-calls', title: 'Postback calls' },
        { path: '/webhooks', title: 'Webhooks' },
        { path: '/dead-letters', title: 'Dead letters' },
        { path: '/imports', title: 'Imports' },
        { path: '/audit-log', title: 'Audit log' },
        { path: '/users', title: 'Users' },
        { path: '/api-keys', title: 'API keys' },
      ],
    },
  ],
};
