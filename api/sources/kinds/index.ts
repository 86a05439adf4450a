import { type Mapping, type MappingInput, readMapping } from '../mapping.ts';
import {
  type SignatureCheck,
  shopifySignature,
  stripeSignature,
  woocommerceSignature,
} from '../signatures.ts';
import { shopify } from './shopify.ts';
import { stripe } from './stripe.ts';
import { anything, binom, cake, everflow, keitaro, redtrack, tune, voluum } from './trackers.ts';
import { woocommerce } from './woocommerce.ts';

export const SOURCE_KINDS = [
  'shopify',
  'woocommerce',
  'stripe',
  'keitaro',
  'voluum',
  'binom',
  'redtrack',
  'everflow',
  'tune',
  'hasoffers',
  'cake',
  'anything',
] as const;
export type SourceKindName = (typeof SOURCE_KINDS)[number];

/** A kind of source: a mapping, and how its calls prove who made them. */
export interface SourceKind {
  readonly title: string;
  readonly mapping: Mapping;
  /** The mapping as it is written: what a mapping of a source's own begins with. */
  readonly preset: MappingInput;
  /** Absent: its calls are not signed, and the address is what proves them. */
  readonly signature?: SignatureCheck;
  /** Who makes the secret; `parameter`: it comes in the call, as the parameter of this name, where the source has one. */
  readonly secret: 'theirs' | 'ours' | 'none' | { readonly parameter: string };
  /** Its calls may come to /aff_lsr under a host name of their own. */
  readonly byHost?: boolean;
}

const reads = (preset: MappingInput) => ({ preset, mapping: readMapping(preset) });
const tuneLike = (title: string): SourceKind => ({
  title,
  ...reads(tune),
  secret: { parameter: 'security_token' },
  byHost: true,
});
const tracker = (title: string, preset: MappingInput): SourceKind => ({
  title,
  ...reads(preset),
  secret: 'none',
});

const KINDS: Readonly<Record<SourceKindName, SourceKind>> = {
  shopify: { title: 'Shopify', ...reads(shopify), signature: shopifySignature, secret: 'theirs' },
  woocommerce: {
    title: 'WooCommerce',
    ...reads(woocommerce),
    signature: woocommerceSignature,
    secret: 'ours',
  },
  stripe: { title: 'Stripe', ...reads(stripe), signature: stripeSignature, secret: 'theirs' },
  keitaro: tracker('Keitaro', keitaro),
  voluum: tracker('Voluum', voluum),
  binom: tracker('Binom', binom),
  redtrack: tracker('RedTrack', redtrack),
  everflow: tracker('Everflow', everflow),
  tune: tuneLike('TUNE'),
  hasoffers: tuneLike('HasOffers'),
  cake: tracker('CAKE', cake),
  anything: tracker('Anything', anything),
};

/** The kind of a stored source; one that is not known any more is read by its own mapping alone. */
export function kindOf(name: string): SourceKind {
  return Object.hasOwn(KINDS, name) ? KINDS[name as SourceKindName] : KINDS.anything;
}
