import { lazyPage } from '../app/lazy-page.tsx';
import type { Route } from '../app/router.tsx';
import type { PageGroup } from '../app/shell.tsx';
import { t } from '../text/t.ts';
import { OverviewPage } from './figures/overview.tsx';
import { ConversionsPage } from './orders/conversions.tsx';
import { AffiliatesPage } from './programs/affiliates.tsx';
import { LinksPage } from './programs/links.tsx';

/** Pages of operators and of the roles with a part of their work. */
export const operatorPages: { readonly routes: readonly Route[]; readonly groups: readonly PageGroup[] } = {
  routes: [
    { path: '/', page: OverviewPage },
    { path: '/reports', page: lazyPage(async () => (await import('./figures/reports.tsx')).ReportsPage) },
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
    {
      path: '/campaigns',
      page: lazyPage(async () => (await import('./programs/campaigns.tsx')).CampaignsPage),
    },
    { path: '/terms', page: lazyPage(async () => (await import('./programs/terms.tsx')).TermsPage) },
    { path: '/settings', page: lazyPage(async () => (await import('./programs/settings.tsx')).SettingsPage) },
    { path: '/connect', page: lazyPage(async () => (await import('./connect/connect.tsx')).ConnectPage) },
    { path: '/connect/:id', page: lazyPage(async () => (await import('./connect/source.tsx')).SourcePage) },
    { path: '/links', page: LinksPage },
    { path: '/coupons', page: lazyPage(async () => (await import('./programs/coupons.tsx')).CouponsPage) },
    { path: '/conversions', page: ConversionsPage },
    { path: '/reviews', page: lazyPage(async () => (await import('./orders/reviews.tsx')).ReviewsPage) },
    {
      path: '/questions',
      page: lazyPage(async () => (await import('./partners/questions.tsx')).QuestionsPage),
    },
    { path: '/analysts', page: lazyPage(async () => (await import('./fraud/analysts.tsx')).AnalystsPage) },
    { path: '/cases', page: lazyPage(async () => (await import('./fraud/cases/cases.tsx')).CasesPage) },
    { path: '/cases/:id', page: lazyPage(async () => (await import('./fraud/cases/case.tsx')).CasePage) },
    { path: '/velocity', page: lazyPage(async () => (await import('./fraud/velocity.tsx')).VelocityPage) },
    {
      path: '/explorer/:key/:value',
      page: lazyPage(async () => (await import('./fraud/explorer/explorer.tsx')).ExplorerPage),
    },
    { path: '/blocks', page: lazyPage(async () => (await import('./fraud/blocks.tsx')).BlocksPage) },
    {
      path: '/fraud-rules',
      page: lazyPage(async () => (await import('./fraud/rules/rules.tsx')).FraudRulesPage),
    },
    { path: '/payouts', page: lazyPage(async () => (await import('./money/payouts.tsx')).PayoutsPage) },
    {
      path: '/commissions',
      page: lazyPage(async () => (await import('../ui/money/commissions.tsx')).CommissionsPage),
    },
    { path: '/audit', page: lazyPage(async () => (await import('./system/audit.tsx')).AuditPage) },
    {
      path: '/postback-calls',
      page: lazyPage(async () => (await import('./orders/postback-calls.tsx')).PostbackCallsPage),
    },
    {
      path: '/webhooks',
      page: lazyPage(async () => (await import('../ui/webhooks/webhooks.tsx')).WebhooksPage),
    },
    {
      path: '/dead-letters',
      page: lazyPage(async () => (await import('./system/dead-letters.tsx')).DeadLettersPage),
    },
    { path: '/imports', page: lazyPage(async () => (await import('./orders/imports.tsx')).ImportsPage) },
    { path: '/audit-log', page: lazyPage(async () => (await import('./system/audit-log.tsx')).AuditLogPage) },
    { path: '/users', page: lazyPage(async () => (await import('./system/users.tsx')).UsersPage) },
    { path: '/api-keys', page: lazyPage(async () => (await import('./system/api-keys.tsx')).ApiKeysPage) },
    { path: '/account', page: lazyPage(async () => (await import('./system/account.tsx')).AccountPage) },
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
      ],
    },
    {
      title: t('pages.fraud'),
      pages: [
        { path: '/velocity', title: t('common.velocity'), roles: ['operator', 'fraud'] },
        { path: '/cases', title: t('cases.title'), roles: ['operator', 'fraud'] },
        { path: '/fraud-rules', title: t('common.fraud_rules'), roles: ['operator', 'fraud'] },
        { path: '/blocks', title: t('blocks.title'), roles: ['operator', 'fraud'] },
      ],
    },
    {
      title: t('pages.money'),
      pages: [
        { path: '/payouts', title: t('common.payouts'), roles: ['operator', 'finance'] },
        { path: '/commissions', title: t('common.commissions'), roles: ['operator', 'finance', 'fraud'] },
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
        { path: '/analysts', title: t('common.analysts'), roles: ['operator', 'fraud'] },
        { path: '/imports', title: t('common.imports'), roles: ['operator'] },
        { path: '/audit-log', title: t('common.audit_log'), roles: ['operator', 'finance', 'fraud'] },
        { path: '/users', title: t('common.users'), roles: ['operator'] },
        { path: '/api-keys', title: t('common.api_keys'), roles: ['operator', 'advertiser'] },
        { path: '/account', title: t('common.your_account') },
      ],
    },
  ],
};
