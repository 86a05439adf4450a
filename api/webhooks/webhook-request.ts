import { parseTemplate, type UrlTemplate } from '../../core/links/macros.ts';
import { POSTBACK_MACROS, type PostbackMacro } from '../../core/links/postback-macros.ts';
import type { EndpointMethod } from '../../ledger/integrations/webhook-endpoints.ts';
import type { DueDelivery } from '../../ledger/integrations/webhook-queue.ts';
import type { PostbackValues } from './outgoing-postbacks.ts';

/** The HTTP request of a delivery. */
export interface DeliveryRequest {
  readonly method: EndpointMethod;
  readonly url: string;
  readonly contentType: string | undefined;
  readonly body: string;
  /** What its signature covers. */
  readonly signed: string;
}

/** What a delivery sends, to the URL that its endpoint has now. */
export function requestOf(delivery: Pick<DueDelivery, 'kind' | 'method' | 'url' | 'body'>): DeliveryRequest {
  if (delivery.kind === 'outgoing_postback') return postbackRequest(delivery);
  const { url, body } = delivery;
  return { method: 'POST', url, contentType: 'application/json', body, signed: body };
}

/** The request of an outgoing postback: by POST its query is the form that is sent. `body` is of {@link postbackBodyOf}. */
function postbackRequest(options: Pick<DueDelivery, 'url' | 'method' | 'body'>): DeliveryRequest {
  const values = JSON.parse(options.body) as PostbackValues;
  const url = fill(parseTemplate(options.url, 'url', POSTBACK_MACROS), values);
  const cut = url.indexOf('?');
  const query = cut < 0 ? '' : url.slice(cut + 1);
  if (options.method === 'GET')
    return { method: 'GET', url, contentType: undefined, body: '', signed: query };
  return {
    method: 'POST',
    url: cut < 0 ? url : url.slice(0, cut),
    contentType: 'application/x-www-form-urlencoded',
    body: query,
    signed: query,
  };
}

function fill({ literals, macros }: UrlTemplate<PostbackMacro>, values: PostbackValues): string {
  return literals.reduce((text, literal, i) => {
    const macro = macros[i - 1];
    const value = macro === undefined ? '' : values[macro];
    return text + encodeURIComponent(value.toWellFormed()) + literal;
  });
}
