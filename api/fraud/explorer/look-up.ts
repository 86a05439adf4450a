import { InputError } from '../../../core/errors.ts';
import { parseIp } from '../../../core/ip.ts';
import { plainText } from '../../../core/text/plain-text.ts';
import { findLinksByCode, readOrders } from '../../../ledger/audit/explored-orders.ts';
import { listConversions } from '../../../ledger/conversions/conversions.ts';
import { emailHash } from '../../../ledger/conversions/emails.ts';
import { listAffiliates } from '../../../ledger/programs/affiliates.ts';
import { lookupClicks } from '../../../warehouse/lookups/lookups.ts';
import {
  isNetworkOnly,
  parseAddress,
  parseAsn,
  parseFingerprint,
  parseSubnet,
} from '../../../warehouse/lookups/subjects.ts';
import type { ApiContext } from '../../http/context.ts';
import { formatId, parseId } from '../../schemas/ids.ts';
import { customerValues, type ExplorerKey } from './subject.ts';
import { addressKeys, formatOrder } from './views.ts';

/** What a typed text can be. */
export interface Found {
  readonly key: ExplorerKey;
  readonly value: string;
  readonly name: string | null;
}

/** More are no answer: the text has to be longer. */
const MAX_FOUND = 20;

const found = (key: ExplorerKey, value: string, name: string | null = null): Found => ({ key, value, name });

/**
 * The keys that a text names: an address, a network, an autonomous system, a fingerprint, an id, an e-mail address, the id
 * of a click, an order or a customer, the code of a link, a part of an affiliate's name. Only what the caller may see.
 */
export async function lookUp(
  { ledger, warehouse, clickIds }: ApiContext,
  options: { text: string; programId: number | undefined },
): Promise<Found[]> {
  const { programId } = options;
  const text = plainText(options.text);
  const plain = ofForm(text);
  const identity = clickIds.decode(text);
  const [clicks, orders, affiliates, links] = await Promise.all([
    identity ? lookupClicks(warehouse, [identity]) : [],
    ordersNamed(ledger, { text, programId }),
    listAffiliates(ledger, {
      limit: MAX_FOUND,
      programId,
      search: {
        text,
        pattern: `%${text.replaceAll(/[\\%_]/g, (sign) => `\\${sign}`)}%`,
        id: parseId('affiliate', text) ?? null,
      },
    }),
    findLinksByCode(ledger, { code: text, programId }),
  ]);
  const visible = clicks.filter((click) => programId === undefined || click.programId === programId);
  const all = [
    ...plain,
    ...visible.flatMap(({ ip, affiliateId, linkId }) => [
      ...ofAddress(addressKeys(ip)),
      found('affiliate', formatId('affiliate', affiliateId)),
      found('link', formatId('link', linkId)),
    ]),
    ...orders,
    ...affiliates.rows.map(({ id, name }) => found('affiliate', formatId('affiliate', id), name)),
    ...links.map(({ id, code }) => found('link', formatId('link', id), code)),
  ];
  return [...new Map(all.map((one) => [`${one.key} ${one.value}`, one])).values()].slice(0, MAX_FOUND);
}

/** Keys by the form of the text alone: it can be the name of something else as well. */
function ofForm(text: string): Found[] {
  if (text.includes('@')) return [found('customer', `sha256:${emailHash(text)}`)];
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return [found('customer', text)];
  const [address = ''] = text.split('/');
  if (parseIp(address)) {
    const network = attempt(() => parseSubnet(text));
    if (!network) return [];
    if (text.includes('/')) return [found('subnet', network.text)];
    const isWhole = !isNetworkOnly(text);
    return [...(isWhole ? [found('ip', parseAddress(text))] : []), found('subnet', network.text)];
  }
  if (/^AS\d+$/i.test(text)) {
    const asn = attempt(() => parseAsn(text));
    return asn === undefined ? [] : [found('asn', `AS${asn}`)];
  }
  if (parseId('link', text) !== undefined) return [found('link', text)];
  const fingerprint = attempt(() => parseFingerprint(text));
  return fingerprint === undefined || fingerprint === '0' ? [] : [found('fingerprint', fingerprint)];
}

function ofAddress(
  { ip, subnet }: { ip: string | null; subnet: string | null },
  name: string | null = null,
): Found[] {
  if (ip !== null) return [found('ip', ip, name)];
  return subnet === null ? [] : [found('subnet', subnet, name)];
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** An order by its id, whose customer and address lead on, and a customer by the shop's id. */
async function ordersNamed(
  ledger: ApiContext['ledger'],
  { text, programId }: { text: string; programId: number | undefined },
): Promise<Found[]> {
  const id = parseId('conversion', text);
  const [byId, named, ofCustomer] = await Promise.all([
    id === undefined ? [] : readOrders(ledger, { ids: [BigInt(id)], programId }),
    listConversions(ledger, { limit: 1, programId, search: { text, pattern: '', id: null } }),
    listConversions(ledger, { limit: 1, programId, customerId: text }),
  ]);
  const ofOrder = [...byId, ...named.rows]
    .map(formatOrder)
    .flatMap((order) => [
      ...order.customers.map((customer) => found('customer', customer, order.order_id)),
      ...ofAddress(order, order.order_id),
      ...(order.affiliate === null ? [] : [found('affiliate', order.affiliate, order.order_id)]),
    ]);
  const customers = ofCustomer.rows.flatMap((order) =>
    customerValues({ ...order, customerEmailHash: null }).map((value) => found('customer', value)),
  );
  return [...customers, ...ofOrder];
}
