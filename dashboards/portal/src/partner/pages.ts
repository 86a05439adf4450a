import type { Route } from '../app/router.tsx';
import type { PageGroup } from '../app/shell.tsx';
import { WebhooksPage } from '../ui/webhooks/webhooks.tsx';
import { ApiKeysPage } from './api-keys.tsx';
import { ConversionsPage } from './conversions.tsx';
import { LinksPage } from './links.tsx';
import { OverviewPage } from './overview.tsx';
import { PayoutsPage } from './payouts.tsx';
import { ProfilePage } from './profile.tsx';
import { RecruitsPage } from './recruits.tsx';
import { ReportsPage } from './reports.tsx';

/** Pages of a partner. */
export const partnerPages: { readonly routes: readonly Route[]; readonly groups: readonly PageGroup[] } = {
  routes: [
    { path: '/', page: OverviewPage },
    { path: '/links', page: LinksPage },
    { path: '/reports', page: ReportsPage },
    { path: '/conversions', page: ConversionsPage },
    { path: '/payouts', page: PayoutsPage },
    { path: '/recruits', page: RecruitsPage },
    { path: '/webhooks', page: WebhooksPage },
    { path: '/api-keys', page: ApiKeysPage },
    { path: '/profile', page: ProfilePage },
  ],
  groups: [
    {
      title: '',
      pages: [
        { path: '/', title: 'Overview' },
        { path: '/links', title: 'Links' },
        { path: '/reports', title: 'Reports' },
        { path: '/conversions', title: 'Conversions' },
        { path: '/payouts', title: 'Payouts' },
        { path: '/recruits', title: 'Sub-affiliates' },
      ],
    },
    {
      title: 'Settings',
      pages: [
        { path: '/webhooks', title: 'Postbacks and webhooks' },
        { path: '/api-keys', title: 'API keys' },
        { path: '/profile', title: 'Profile and payout method' },
      ],
    },
  ],
};
