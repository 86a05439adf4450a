import { z } from 'zod';
import type { NetworkMatcher } from '../../core/ip.ts';
import { POSTBACK_MACROS } from '../../core/links/postback-macros.ts';
import { CONVERSION_STATUSES } from '../../ledger/conversions/conversions.ts';
import {
  ENDPOINT_METHODS,
  type EndpointKind,
  POSTBACK_EVENT_TYPES,
  WEBHOOK_EVENT_TYPES,
  type WebhookEndpoint,
  type WebhookEventType,
} from '../../ledger/integrations/webhook-endpoints.ts';
import { eventNameOf, MAX_EVENT_LENGTH, MAX_EVENTS } from '../../ledger/programs/events.ts';
import type { Program } from '../../ledger/programs/programs.ts';
import { coversScopes } from '../auth/grants.ts';
import type { Principal } from '../http/principal.ts';
import { invalidField } from '../http/problems.ts';
import { text, urlText } from '../schemas/schemas.ts';
import { parsePostbackUrl } from './outgoing-postbacks.ts';
import { urlFault } from './webhook-target.ts';

/** What may be said of an endpoint, and whether it may be: of a webhook and of an outgoing postback. */

const eventTypes = z.array(z.enum(WEBHOOK_EVENT_TYPES)).max(WEBHOOK_EVENT_TYPES.length);

/** The settings of an endpoint; each is of one kind or of both. */
export const endpointFields = {
  url: urlText.meta({
    description: `Of an outgoing postback with macros in its query: ${POSTBACK_MACROS.map((name) => `{${name}}`).join(' ')}.`,
    examples: ['https://tracker.example/postback?cid={sub1}&payout={commission}&status={status}'],
  }),
  events: eventTypes.meta({ description: 'Of a webhook; empty: every event.' }),
  method: z.enum(ENDPOINT_METHODS).meta({
    description: 'Of an outgoing postback. By POST its query is sent as a form.',
  }),
  statuses: z
    .array(z.enum(CONVERSION_STATUSES))
    .max(CONVERSION_STATUSES.length)
    .meta({ description: 'Of an outgoing postback: for conversions with these statuses; empty: with any.' }),
  event_names: z.array(text(MAX_EVENT_LENGTH).transform(eventNameOf)).max(MAX_EVENTS).meta({
    description: 'Of an outgoing postback: for conversions of these events of the program; empty: of any.',
  }),
};

export interface EndpointSettings {
  readonly url?: string;
  readonly events?: WebhookEventType[];
  readonly method?: WebhookEndpoint['method'];
  readonly statuses?: WebhookEndpoint['statuses'];
  readonly event_names?: string[];
}

const OF_WEBHOOKS = ['events'] as const;
const OF_POSTBACKS = ['method', 'statuses', 'event_names'] as const;

/** What is given of an endpoint, as it is stored. @throws InputError, Problem naming the field. */
export function checkedSettings(
  given: EndpointSettings,
  { kind, program, allowed }: { kind: EndpointKind; program: Program; allowed: NetworkMatcher },
): Partial<Pick<WebhookEndpoint, 'url' | 'events' | 'method' | 'statuses' | 'eventNames'>> {
  const foreign = (kind === 'webhook' ? OF_POSTBACKS : OF_WEBHOOKS).find((name) => given[name] !== undefined);
  if (foreign)
    throw invalidField(
      foreign,
      `is no setting of ${kind === 'webhook' ? 'a webhook' : 'an outgoing postback'}`,
    );
  const { url, event_names: eventNames, ...rest } = given;
  const unknown = eventNames?.find((name) => !program.events.includes(name));
  if (unknown !== undefined) {
    throw invalidField(
      'event_names',
      `${unknown} is no event of the program: ${program.events.join(', ')} are`,
    );
  }
  return {
    ...rest,
    ...(url !== undefined && { url: checkedUrl(url, kind, allowed) }),
    ...(eventNames !== undefined && { eventNames }),
  };
}

function checkedUrl(url: string, kind: EndpointKind, allowed: NetworkMatcher): string {
  const stored = kind === 'webhook' ? url : parsePostbackUrl(url).url;
  const fault = urlFault(stored, allowed);
  if (fault) throw invalidField('url', fault);
  return stored;
}

/** The scope that reads what the bodies of an event show. */
function scopeOfEvent(type: WebhookEventType): string | undefined {
  const [subject] = type.split('.');
  const tag = { conversion: 'conversions', payout: 'money', affiliate: 'affiliates' }[subject ?? ''];
  return tag && `${tag}:read`;
}

/** A key receives nothing by an endpoint that it may not read. @throws Problem naming the field. */
export function checkReadable(
  principal: Principal,
  { kind, url, events }: Pick<WebhookEndpoint, 'kind' | 'url' | 'events'>,
): void {
  const types =
    kind === 'outgoing_postback' ? POSTBACK_EVENT_TYPES : events.length === 0 ? WEBHOOK_EVENT_TYPES : events;
  const beyond = types.filter((type) => {
    const scope = scopeOfEvent(type);
    return scope !== undefined && !coversScopes(principal, [scope]);
  });
  if (beyond.length > 0) {
    throw invalidField('events', `your own key lacks the scopes to read ${beyond.join(', ')}`);
  }
  if (kind === 'webhook' || coversScopes(principal, ['money:read'])) return;
  if (parsePostbackUrl(url).macros.includes('commission')) {
    throw invalidField('url', 'your own key lacks the scope money:read, which {commission} needs');
  }
}
