import { z } from 'zod';
import { ROLES } from '../../ledger/access/api-keys.ts';
import {
  ENDPOINT_KINDS,
  ENDPOINT_METHODS,
  ENDPOINT_STATUSES,
  WEBHOOK_EVENT_TYPES,
  type WebhookEndpoint,
} from '../../ledger/integrations/webhook-endpoints.ts';
import { MAX_KEPT_EVENTS } from '../../ledger/integrations/webhook-queue.ts';
import { owned, type Principal } from '../http/principal.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../schemas/schemas.ts';

export const WEBHOOK_ROLES = ['operator', 'affiliate', 'advertiser'] as const;
export const NO_WEBHOOK = 'webhook with this id';

export const webhookView = z
  .object({
    id: idText('webhookEndpoint'),
    program_id: idText('program'),
    affiliate_id: idText('affiliate').nullable(),
    role: z.enum(ROLES).meta({ description: 'The role whose view the bodies have.' }),
    kind: z.enum(ENDPOINT_KINDS),
    url: z.string().meta({ description: 'Of an outgoing postback with macros.' }),
    method: z.enum(ENDPOINT_METHODS),
    events: z.array(z.enum(WEBHOOK_EVENT_TYPES)).meta({ description: 'Empty: every event.' }),
    statuses: z
      .array(z.string())
      .meta({ description: 'Of the conversions of an outgoing postback; empty: any.' }),
    event_names: z
      .array(z.string())
      .meta({ description: 'Of the conversions of an outgoing postback; empty: any.' }),
    status: z.enum(ENDPOINT_STATUSES),
    disabled_reason: z.string().nullable(),
    failing_since: timeText.nullable().meta({ description: 'Since when every attempt has failed.' }),
    keeps_until: timeText.nullable().meta({
      description: `Of a disabled one: what it misses until then, at most about ${MAX_KEPT_EVENTS} events, is delivered when it is active again. Null: it is active, or its affiliate was terminated.`,
    }),
    created_at: timeText,
  })
  .meta({ id: 'Webhook' });

export function formatWebhook(endpoint: WebhookEndpoint): z.output<typeof webhookView> {
  return {
    id: formatId('webhookEndpoint', endpoint.id),
    program_id: formatId('program', endpoint.programId),
    affiliate_id: formatOptionalId('affiliate', endpoint.affiliateId),
    role: endpoint.role,
    kind: endpoint.kind,
    url: endpoint.url,
    method: endpoint.method,
    events: endpoint.events,
    statuses: endpoint.statuses,
    event_names: endpoint.eventNames,
    status: endpoint.status,
    disabled_reason: endpoint.disabledReason,
    failing_since: formatOptionalTime(endpoint.failingSince),
    keeps_until: formatOptionalTime(endpoint.keepsUntil),
    created_at: formatTime(endpoint.createdAt),
  };
}

/** The endpoint, if it is the principal's: an operator's are every one of the program, anybody else's their own. */
export function visibleEndpoint(principal: Principal, row: WebhookEndpoint | undefined): WebhookEndpoint {
  const mine = principal.role === 'operator' || row?.role === principal.role ? row : undefined;
  return owned(principal, mine, NO_WEBHOOK);
}
