import type { WebhookEndpoint } from '../../ledger/integrations/webhook-endpoints.ts';
import type { Principal } from '../http/principal.ts';

/** Whether a link to what the principal sees may go there: to an endpoint for the eyes of the same role and party. */
export function mayUseWebhook(principal: Principal, endpoint: WebhookEndpoint): boolean {
  return (
    endpoint.kind === 'webhook' &&
    endpoint.role === principal.role &&
    endpoint.affiliateId === principal.affiliateId &&
    (principal.programId === null || endpoint.programId === principal.programId)
  );
}
