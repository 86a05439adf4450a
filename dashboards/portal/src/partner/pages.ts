import type { Route } from '../app/router.tsx';
import type { PageGroup } from '../app/shell.tsx';
import { t } from '../text/t.ts';
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
        { path: '/', title: t('common.overview') },
        { path: '/links', title: t('common.links') },
        { path: '/reports', title: t('common.reports') },
        { path: '/conversions', title: t('common.conversions') },
        { path: '/payouts', title: t('common.payouts') },
        { path: '/recruits', title: t('common.sub_affiliates') },
      ],
    },
    {
      title: t('partnerPages.settings'),
      pages: [
        { path: '/webhooks', title: t('common.postbacks_and_webhooks') },
        { path: '/api-keys', title: t('common.api_keys') },
        { path: '/profile', title: t('partnerPages.profile_and_payout_method') },
      ],
    },
  ],
};
