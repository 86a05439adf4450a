import { lazyPage } from '../app/lazy-page.tsx';
import type { Route } from '../app/router.tsx';
import type { PageGroup } from '../app/shell.tsx';
import { WebhooksPage } from '../ui/webhooks/webhooks.tsx';
import { OverviewPage } from './figures/overview.tsx';
import { ReportsPage } from './figures/reports.tsx';
import { VelocityPage } from './figures/velocity.tsx';
import { PayoutsPage } from './money/payouts.tsx';
import { ConversionsPage } from './orders/conversions.tsx';
import { ImportsPage } from './orders/imports.tsx';
import { PostbackCallsPage } from './orders/postback-calls.tsx';
import { ReviewsPage } from './orders/reviews.tsx';
import { AffiliatesPage } from './programs/affiliates.tsx';
import { CampaignsPage } from './programs/campaigns.tsx';
import { CouponsPage } from './programs/coupons.tsx';
import { LinksPage } from './programs/links.tsx';
import { SettingsPage } from './programs/settings.tsx';
import { TermsPage } from './programs/terms.tsx';
import { AccountPage } from './system/account.tsx';
import { ApiKeysPage } from './system/api-keys.tsx';
import { AuditPage } from './system/audit.tsx';
import { AuditLogPage } from './system/audit-log.tsx';
import { DeadLettersPage } from './system/dead-letters.tsx';
import { UsersPage } from './system/users.tsx';

/** Pages of operators and of the roles with a part of their work. */
export const operatorPages: { readonly routes: readonly Route[]; readonly groups: readonly PageGroup[] } = {
  routes: [
    { path: '/', page: OverviewPage },
    { path: '/reports', page: ReportsPage },
    { path: '/affiliates', page: AffiliatesPage },
    { path: '/campaigns', page: CampaignsPage },
    { path: '/terms', page: TermsPage },
    { path: '/settings', page: SettingsPage },
    { path: '/connect', page: lazyPage(async () => (await import('./connect/connect.tsx')).ConnectPage) },
    { path: '/connect/:id', page: lazyPage(async () => (await import('./connect/source.tsx')).SourcePage) },
    { path: '/links', page: LinksPage },
    { path: '/coupons', page: CouponsPage },
    { path: '/conversions', page: ConversionsPage },
    { path: '/reviews', page: ReviewsPage },
    { path: '/velocity', page: VelocityPage },
    { path: '/payouts', page: PayoutsPage },
    { path: '/audit', page: AuditPage },
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
      title: 'Program',
      pages: [
        { path: '/affiliates', title: 'Partners', roles: ['operator', 'finance', 'fraud'] },
        { path: '/campaigns', title: 'Campaigns', roles: ['operator'] },
        { path: '/terms', title: 'Terms', roles: ['operator', 'finance'] },
        { path: '/links', title: 'Links and routing', roles: ['operator'] },
        { path: '/coupons', title: 'Coupon codes', roles: ['operator'] },
        { path: '/settings', title: 'Program settings', roles: ['operator'] },
        { path: '/connect', title: 'Connect', roles: ['operator', 'advertiser'] },
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
          path: '/audit',
          title: 'Audit',
          roles: ['operator', 'finance'],
          acrossPrograms: true,
        },
      ],
    },
    {
      title: 'Operations',
      pages: [
        { path: '/postback-calls', title: 'Postback calls', roles: ['operator', 'fraud', 'advertiser'] },
        { path: '/webhooks', title: 'Postbacks and webhooks', roles: ['operator', 'advertiser'] },
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
