import { InputError } from '../../core/errors.ts';
import { parseTemplate, templateText } from '../../core/links/macros.ts';
import { POSTBACK_MACROS, type PostbackMacro } from '../../core/links/postback-macros.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { ownEarnings } from '../../ledger/books/earnings.ts';
import { getConversion } from '../../ledger/conversions/conversions.ts';
import type { Listener, WebhookEvent } from '../../ledger/integrations/webhook-queue.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { formatConversion, subIdsOf } from '../orders/conversion-view.ts';
import { bigintId } from '../schemas/ids.ts';
import { formatMoney } from '../schemas/schemas.ts';

/**
 * Postbacks to the tracker of an affiliate: a URL whose macros are replaced by what a conversion has come to. What is stored
 * for a delivery are the values, so that a URL that was put right also serves what waits for it.
 */

export type PostbackValues = Readonly<Record<PostbackMacro, string>>;

/** Sent by a test: no tracker takes the order for one of its own. */
const EXAMPLE: Omit<PostbackValues, 'time'> = {
  click_id: 'EXAMPLEEXAMPLEEXAMPLE0',
  sub1: 'example-sub1',
  sub2: 'example-sub2',
  sub3: 'example-sub3',
  sub4: 'example-sub4',
  sub5: 'example-sub5',
  amount: '100.00',
  commission: '10.00',
  currency: 'EUR',
  order_ref: 'afflux-test',
  event: 'sale',
  status: 'pending',
};

/** The URL of an outgoing postback, as it is stored. Its macros stand in the query alone. @throws InputError `url`. */
export function parsePostbackUrl(url: string): { url: string; macros: readonly PostbackMacro[] } {
  const template = parseTemplate(url, 'url', POSTBACK_MACROS);
  const [beginning = ''] = template.literals;
  if (template.macros.length > 0 && !beginning.includes('?')) {
    throw new InputError('url', 'must have its macros behind a ?, such as ?click={sub1}');
  }
  return { url: templateText(template), macros: template.macros };
}

/**
 * What an outgoing postback says of an event, as JSON; null: nothing, because the conversion is credited to no affiliate, or its
 * status or event is not wanted.
 */
export async function postbackBodyOf(
  sql: DatabaseSql,
  event: WebhookEvent,
  listener: Listener,
): Promise<string | null> {
  if (event.type === 'webhook.test') return JSON.stringify({ ...EXAMPLE, time: unixSeconds(event.at) });
  const values = await valuesOf(sql, event.subject, listener.role);
  if (
    !values ||
    !isWanted(listener.statuses, values.status) ||
    !isWanted(listener.eventNames, values.event)
  ) {
    return null;
  }
  return JSON.stringify(values);
}

function isWanted(list: readonly string[], value: string): boolean {
  return list.length === 0 || list.includes(value);
}

async function valuesOf(sql: DatabaseSql, subject: string, role: Role): Promise<PostbackValues | undefined> {
  const conversion = await getConversion(sql, bigintId('conversion').parse(subject));
  if (!conversion || conversion.affiliateId === null) return undefined;
  const { id, currency, amountMinor, refundedMinor, occurredAt, clickSubs } = conversion;
  const { order_id, event_name, status, click_id } = formatConversion(conversion, { role });
  const { sub1, sub2, sub3, sub4, sub5 } = subIdsOf({ clickSubs });
  return {
    click_id: click_id ?? '',
    sub1: sub1 ?? '',
    sub2: sub2 ?? '',
    sub3: sub3 ?? '',
    sub4: sub4 ?? '',
    sub5: sub5 ?? '',
    amount: formatMoney(amountMinor - refundedMinor, currency).amount,
    commission: formatMoney((await ownEarnings(sql, [id]))(id), currency).amount,
    currency,
    order_ref: order_id,
    event: event_name,
    status,
    time: unixSeconds(occurredAt),
  };
}

/** As trackers read times. */
function unixSeconds(at: Date): string {
  return String(Math.floor(at.getTime() / 1_000));
}
