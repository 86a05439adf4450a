import { lazyPage } from '../app/lazy-page.tsx';
import type { Route } from '../app/router.tsx';
import type { PageGroup } from '../app/shell.tsx';
import { t } from '../text/t.ts';
import { ConversionsPage } from './conversions.tsx';
import { LinksPage } from './links.tsx';
import { OverviewPage } from './overview.tsx';

/** Pages of a partner. */
export const partnerPages: { readonly routes: readonly Route[]; readonly groups: readonly PageGroup[] } = {
  routes: [
    { path: '/', page: OverviewPage },
    { path: '/links', page: LinksPage },
    { path: '/reports', page: lazyPage(async () => (await import('./reports.tsx')).ReportsPage) },
    { path: '/conversions', page: ConversionsPage },
    { path: '/payouts', page: lazyPage(async () => (await import('./payouts.tsx')).PayoutsPage) },
    {
      path: '/commissions',
      page: lazyPage(async () => (await import('../ui/money/commissions.tsx')).CommissionsPage),
    },
    { path: '/recruits', page: lazyPage(async () => (await import('./recruits.tsx')).RecruitsPage) },
    {
      path: '/webhooks',
      page: lazyPage(async () => (await import('../ui/webhooks/webhooks.tsx')).WebhooksPage),
    },
    { path: '/api-keys', page: lazyPage(async () => (await import('./api-keys.tsx')).ApiKeysPage) },
    { path: '/profile', page: lazyPage(async () => (await import('./profile.tsx')).ProfilePage) },
  ],
  groups: [
    {
      title: '',
      pages: [
        { path: '/', title: t('common.overview') },
        { path: '/links', title: t('common.links') },
        { path: '/reports', title: t('common.reports') },
        { path: '/conversions', title: t('common.conversions') },
        { path: '/commissions', title: t('common.commissions') },
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
