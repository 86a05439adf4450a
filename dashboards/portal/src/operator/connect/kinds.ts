import type { Schemas } from '../../data/api.ts';
import { t } from '../../text/t.ts';

export type Source = Schemas['Source'];
export type Kind = Schemas['KindOfSource'];
export type KindName = Source['kind'];

/** What a kind is for, in one sentence. */
export const aboutOf = (kind: KindName): string => t(`sourceKinds.${kind}`);

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
