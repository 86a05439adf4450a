import type { Schemas } from '../../data/api.ts';

export type Source = Schemas['Source'];
export type Kind = Schemas['SourceKind'];
export type KindName = Source['kind'];

/** What each kind is for, in one sentence. */
export const ABOUT: Readonly<Record<KindName, string>> = {
  shopify: 'Paid orders, cancellations and refunds, by webhooks of the shop. No app.',
  woocommerce: 'Orders as they stand at each change, with their refunds, by webhooks of the shop.',
  stripe: 'Payments of Checkout, renewals, refunds and disputes, by events of the account.',
  keitaro: 'Conversions of a campaign, by its S2S postback.',
  voluum: 'Conversions, by a postback URL.',
  binom: 'Conversions, by a postback URL.',
  redtrack: 'Conversions, by a postback URL.',
  everflow: 'Conversions, by a postback of the offer.',
  tune: 'Conversions, by a postback URL, or by the old /aff_lsr under a host name of its own.',
  hasoffers: 'Conversions, by a postback URL, or by the old /aff_lsr under a host name of its own.',
  cake: 'Conversions, by a postback URL.',
  anything: 'Whatever can call a URL with JSON, a form or parameters, read by a mapping of its own.',
};

/** The page of the documentation. */
const PAGES: Partial<Readonly<Record<KindName, string>>> = {
  shopify: 'shopify',
  woocommerce: 'woocommerce',
  stripe: 'stripe',
  anything: 'anything',
};
export const pageOf = (kind: KindName): string => `docs/connect/${PAGES[kind] ?? 'keitaro'}.md`;

/** The code for the pages of the shop that suits a kind; none for trackers, which links lead to. */
export const SNIPPETS_OF: Partial<Readonly<Record<KindName, readonly Schemas['Snippet']['name'][]>>> = {
  shopify: ['shopify_theme', 'shopify_pixel'],
  woocommerce: ['woocommerce'],
  stripe: ['page', 'tag_manager'],
  anything: ['page', 'tag_manager'],
};
