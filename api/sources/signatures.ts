import { createHmac, timingSafeEqual } from 'node:crypto';
import Stripe from 'stripe';
import { assert } from '../../core/errors.ts';
import { SIGNATURE_TOLERANCE_MS } from '../auth/signed-calls.ts';
import type { SentRequest } from './sent-request.ts';

/**
 * Whether one of the secrets has signed a call, over the bytes of its body and in constant time. `receivedAt` is when it came:
 * a stored call is as old as it was then.
 */
export type SignatureCheck = (request: SentRequest, signed: { secret: string; receivedAt: Date }) => boolean;

/** HMAC-SHA-256 of the body in base64, in a header. */
function hmacIn(header: string): SignatureCheck {
  return ({ headers, body }, { secret }) => {
    const right = Buffer.from(createHmac('sha256', secret).update(body).digest('base64'));
    const given = Buffer.from((headers[header] ?? '').trim());
    return given.length === right.length && timingSafeEqual(given, right);
  };
}

/** shopify.dev/docs/apps/build/webhooks/subscribe/https: `X-Shopify-Hmac-Sha256`, keyed by the client secret. */
export const shopifySignature = hmacIn('x-shopify-hmac-sha256');

/** woocommerce.github.io/woocommerce-rest-api-docs, "Webhooks": `X-WC-Webhook-Signature`, keyed by the secret of the webhook. */
export const woocommerceSignature = hmacIn('x-wc-webhook-signature');

/** docs.stripe.com/webhooks/signature: `Stripe-Signature` with a time and one or several `v1`. */
export const stripeSignature: SignatureCheck = ({ headers, body }, { secret, receivedAt }) => {
  const { signature } = Stripe.webhooks;
  assert(signature, 'the library of Stripe verifies signatures');
  try {
    signature.verifyHeader(
      body,
      headers['stripe-signature'] ?? '',
      secret,
      SIGNATURE_TOLERANCE_MS / 1_000,
      undefined,
      receivedAt.getTime(),
    );
    return true;
  } catch (error) {
    if (error instanceof Stripe.errors.StripeSignatureVerificationError) return false;
    throw error;
  }
};
