import { lazyPage } from '../app/lazy-page.tsx';
import type { Route } from '../app/router.tsx';
import type { PageGroup } from '../app/shell.tsx';
import { t } from '../text/t.ts';
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
    {
      path: '/applications',
      page: lazyPage(async () => (await import('./partners/applications.tsx')).ApplicationsPage),
    },
    {
      path: '/sign-up',
      page: lazyPage(async () => (await import('./partners/sign-up-settings.tsx')).SignUpSettingsPage),
    },
    {
      path: '/mails',
      page: lazyPage(async () => (await import('./partners/mail-templates.tsx')).MailTemplatesPage),
    },
    { path: '/campaigns', page: CampaignsPage },
    { path: '/terms', page: TermsPage },
    { path: '/settings', page: SettingsPage },
    { path: '/connect', page: lazyPage(async () => (await import('./connect/connect.tsx')).ConnectPage) },
    { path: '/connect/:id', page: lazyPage(async () => (await import('./connect/source.tsx')).SourcePage) },
    { path: '/links', page: LinksPage },
    { path: '/coupons', page: CouponsPage },
    { path: '/conversions', page: ConversionsPage },
    { path: '/reviews', page: ReviewsPage },
    {
      path: '/questions',
      page: lazyPage(async () => (await import('./partners/questions.tsx')).QuestionsPage),
    },
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
        { path: '/', title: t('common.overview') },
        { path: '/reports', title: t('common.reports') },
      ],
    },
    {
      title: t('common.program'),
      pages: [
        { path: '/affiliates', title: t('common.partners'), roles: ['operator', 'finance', 'fraud'] },
        { path: '/applications', title: t('common.applications'), roles: ['operator'] },
        { path: '/sign-up', title: t('common.sign_up_page'), roles: ['operator'] },
        { path: '/campaigns', title: t('common.campaigns'), roles: ['operator'] },
        { path: '/terms', title: t('common.terms'), roles: ['operator', 'finance'] },
        { path: '/links', title: t('common.links_and_routing'), roles: ['operator'] },
        { path: '/coupons', title: t('common.coupon_codes'), roles: ['operator'] },
        { path: '/mails', title: t('common.mails'), roles: ['operator'] },
        { path: '/settings', title: t('common.program_settings'), roles: ['operator'] },
        { path: '/connect', title: t('connect.title'), roles: ['operator', 'advertiser'] },
      ],
    },
    {
      title: t('common.orders'),
      pages: [
        { path: '/conversions', title: t('common.conversions') },
        { path: '/reviews', title: t('common.review_queue'), roles: ['operator', 'fraud'] },
        { path: '/questions', title: t('common.questions'), roles: ['operator', 'fraud'] },
        {
          path: '/velocity',
          title: t('common.velocity'),
          roles: ['operator', 'fraud'],
          acrossPrograms: true,
        },
      ],
    },
    {
      title: t('pages.money'),
      pages: [
        { path: '/payouts', title: t('common.payouts'), roles: ['operator', 'finance'] },
        {
          path: '/audit',
          title: t('common.audit'),
          roles: ['operator', 'finance'],
          acrossPrograms: true,
        },
      ],
    },
    {
      title: t('pages.operations'),
      pages: [
        {
          path: '/postback-calls',
          title: t('common.postback_calls'),
          roles: ['operator', 'fraud', 'advertiser'],
        },
        { path: '/webhooks', title: t('common.postbacks_and_webhooks'), roles: ['operator', 'advertiser'] },
        { path: '/dead-letters', title: t('common.dead_letters'), roles: ['operator'], acrossPrograms: true },
        { path: '/imports', title: t('common.imports'), roles: ['operator'] },
        { path: '/audit-log', title: t('common.audit_log'), roles: ['operator', 'finance', 'fraud'] },
        { path: '/users', title: t('common.users'), roles: ['operator'] },
        { path: '/api-keys', title: t('common.api_keys'), roles: ['operator', 'advertiser'] },
        { path: '/account', title: t('common.your_account') },
      ],
    },
  ],
};
