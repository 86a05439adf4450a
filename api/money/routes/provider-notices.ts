import Stripe from 'stripe';
import { recordNotice } from '../../../ledger/payouts/notices.ts';
import { stripeNotice } from '../../../ledger/payouts/providers/stripe.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { notFound, Problem } from '../../http/problems.ts';

/** Notices of payout providers. Stripe signs them, and repeats for days those that are not answered 2xx. */
export function addProviderNoticeRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, secretBox, stripeWebhookSecret: secret } = context;
  app.route({
    method: 'POST',
    url: '/v1/provider-notices/stripe',
    config: { roles: 'public' },
    // Stripe's own format, of no use to other callers.
    schema: { hide: true },
    handler: async (request) => {
      if (secret === '') throw notFound('notice endpoint: STRIPE_WEBHOOK_SECRET is not set');
      const event = verified(request.rawBody, String(request.headers['stripe-signature'] ?? ''), secret);
      const notice = stripeNotice(event);
      if (!notice) return { outcome: 'ignored' };
      const outcome = await recordNotice(ledger, { ...notice, now: new Date(), secretBox });
      if (outcome === 'too_early') {
        throw new Problem('wrong_state', {
          detail: 'the payout is being submitted; repeat the notice later',
        });
      }
      if (outcome === 'contradicts') {
        request.log.error({ event: event.id, ...notice }, 'notice contradicts the books');
      }
      return { outcome };
    },
  });
}

/** @throws Problem `unauthorized` for whatever Stripe did not sign within the last five minutes. */
function verified(body: Buffer | undefined, signature: string, secret: string): Stripe.Event {
  try {
    return Stripe.webhooks.constructEvent(body ?? '', signature, secret);
  } catch (cause) {
    if (!(cause instanceof Stripe.errors.StripeSignatureVerificationError)) throw cause;
    throw new Problem('unauthorized', { detail: 'the signature does not match', cause });
  }
}
