import type { Route } from '../router.tsx';
import type { PageGroup } from '../shell.tsx';
import { AffiliatesPage } from './affiliates.tsx';
import { CampaignsPage } from './campaigns.tsx';
import { OverviewPage } from './overview.tsx';
import { TermsPage } from './terms.tsx';

/** What an operator can go to. */
export const operatorPages: { readonly routes: readonly Route[]; readonly groups: readonly PageGroup[] } = {
  routes: [
    { path: '/', page: OverviewPage },
    { path: '/affiliates', page: AffiliatesPage },
    { path: '/campaigns', page: CampaignsPage },
    { path: '/terms', page: TermsPage },
  ],
  groups: [
    { title: '', pages: [{ path: '/', title: 'Overview' }] },
    {
      title: 'Programme',
      pages: [
        { path: '/affiliates', title: 'Partners' },
        { path: '/campaigns', title: 'Campaigns' },
        { path: '/terms', title: 'Terms' },
      ],
    },
  ],
};
