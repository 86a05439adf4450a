import { z } from 'zod';
import { DAY_MS } from '../../../core/time.ts';
import {
  findAccountHolders,
  findCustomerOrders,
  readLinkedCampaignIds,
  readOrders,
} from '../../../ledger/audit/explored-orders.ts';
import type { Conversion } from '../../../ledger/conversions/conversions.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getLink } from '../../../ledger/programs/links.ts';
import { SUMMED_ORDERS } from '../../../warehouse/lookups/explorer.ts';
import {
  EXPLORED_DAYS,
  isNetworkOnly,
  parseAddress,
  parseAsn,
  parseFingerprint,
  parseSubnet,
  type Selection,
  type Subject,
  select,
} from '../../../warehouse/lookups/subjects.ts';
import type { ApiContext } from '../../http/context.ts';
import { inProgram, type Principal, programFilter } from '../../http/principal.ts';
import { invalidField, notFound } from '../../http/problems.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { formatId, type IntegerIdKind, parseId } from '../../schemas/ids.ts';

/** What the explorer starts from. */
export const EXPLORER_KEYS = [
  'ip',
  'subnet',
  'asn',
  'fingerprint',
  'affiliate',
  'link',
  'customer',
  'account',
] as const;
export type ExplorerKey = (typeof EXPLORER_KEYS)[number];

export const explorerKey = z.enum(EXPLORER_KEYS).meta({
  description:
    'ip: an address, of which a shortened one is answered as its network; subnet: a network, /24 of IPv4, /64 or /48 of IPv6; asn: AS680; fingerprint: a number; affiliate, link: an id; customer: the id at the shop, or the hash of an e-mail address as `sha256:` and 64 digits, or the id of an order (an id with an @ may be an e-mail address, which is in no URL); account: the payout account of the affiliate with this id.',
});

/** A key and a value from which one goes on. */
export interface Explored {
  readonly key: ExplorerKey;
  /** In its one way of writing. */
  readonly value: string;
  readonly name: string | null;
  readonly selection: Selection;
  /** What the caller sees; undefined: every program. */
  readonly programId: number | undefined;
  /** The affiliate, or those of the account. */
  readonly affiliateIds: readonly number[];
  /** Of an account: more affiliates are paid to it than these. */
  readonly isPartial: boolean;
}

/**
 * Reads key and value, limited to what the caller may see.
 * @throws InputError `value`, Problem `not_found` for an affiliate, a link or an order that is not visible.
 */
export async function exploredOf(
  { ledger }: Pick<ApiContext, 'ledger'>,
  principal: Principal,
  asked: { key: ExplorerKey; value: string; program_id?: number | undefined; now: Date },
): Promise<Explored> {
  const programId = programFilter(principal, asked.program_id);
  const {
    subject,
    value,
    name = null,
    isPartial = false,
    key = asked.key,
  } = await subjectOf(ledger, principal, { ...asked, programId });
  return {
    key,
    value,
    name,
    programId,
    selection: select(subject, programId),
    affiliateIds: subject.kind === 'affiliates' ? subject.affiliateIds : [],
    isPartial,
  };
}

interface Read {
  /** Where it is another one than was asked for. */
  readonly key?: ExplorerKey;
  readonly subject: Subject;
  readonly value: string;
  readonly name?: string;
  readonly isPartial?: boolean;
}

async function subjectOf(
  ledger: ApiContext['ledger'],
  principal: Principal,
  asked: { key: ExplorerKey; value: string; programId: number | undefined; now: Date },
): Promise<Read> {
  const { key, value, programId, now } = asked;
  switch (key) {
    case 'ip': {
      const ip = parseAddress(value);
      if (isNetworkOnly(ip)) return subnetOf(ip);
      return { subject: { kind: 'ip', ip }, value: ip };
    }
    case 'subnet':
      return subnetOf(value);
    case 'asn': {
      const asn = parseAsn(value);
      return { subject: { kind: 'asn', asn }, value: `AS${asn}` };
    }
    case 'fingerprint': {
      const fingerprint = parseFingerprint(value);
      return { subject: { kind: 'fingerprint', fingerprint }, value: fingerprint };
    }
    case 'affiliate': {
      const affiliate = visibleAffiliate(principal, await getAffiliate(ledger, idOf('affiliate', value)));
      return { subject: await affiliatesOf(ledger, [affiliate.id]), value, name: affiliate.name };
    }
    case 'link': {
      const link = inProgram(principal, await getLink(ledger, idOf('link', value)), 'link with this id');
      const { id: linkId, campaignId, code } = link;
      return { subject: { kind: 'link', linkId, campaignId }, value, name: code };
    }
    case 'account':
      return await accountOf(ledger, principal, { value, programId });
    case 'customer':
      return await customerOf(ledger, { value, programId, now });
  }
}

/** Of a shortened address no more is known than its network. */
function subnetOf(value: string): Read {
  const network = parseSubnet(value);
  return { key: 'subnet', subject: { kind: 'subnet', network }, value: network.text };
}

async function customerOf(
  ledger: ApiContext['ledger'],
  { value, programId, now }: { value: string; programId: number | undefined; now: Date },
): Promise<Read> {
  if (value.includes('@')) {
    throw invalidField(
      'value',
      'must have no @: e-mail addresses are in no URL. POST /v1/explorer/look-up answers with the value to use',
    );
  }
  const orderId = parseId('conversion', value);
  const named = orderId === undefined ? value : await customerOfOrder(ledger, BigInt(orderId), programId);
  const from = new Date(now.getTime() - EXPLORED_DAYS * DAY_MS);
  // One more than is summed: that there are more is seen where they are.
  const limit = SUMMED_ORDERS + 1;
  const orders = await findCustomerOrders(ledger, { named, programId, from, limit });
  const [newest] = orders.conversionIds;
  const mark = { id: newest ?? BigInt(orderId ?? 0), customerId: named, customerEmailHash: null };
  return { subject: { kind: 'orders', ...orders }, value: customerValues(mark)[0] ?? value };
}

/** What the customer of an order is known by. */
async function customerOfOrder(
  ledger: ApiContext['ledger'],
  id: bigint,
  programId: number | undefined,
): Promise<string> {
  const [order] = await readOrders(ledger, { ids: [id], programId });
  const named = order?.customerId ?? (order?.customerEmailHash && `sha256:${order.customerEmailHash}`);
  if (!named) throw notFound('customer of this order');
  return named;
}

/**
 * By which values of `customer` an order's leads on: the shop's id, and the hash of the e-mail address. An id that may be
 * an address is not written into URLs: the order stands for it.
 */
export function customerValues({
  id,
  customerId,
  customerEmailHash,
}: Pick<Conversion, 'id' | 'customerId' | 'customerEmailHash'>): string[] {
  const own = customerId?.includes('@') ? formatId('conversion', id) : customerId;
  const hash = customerEmailHash === null ? null : `sha256:${customerEmailHash}`;
  return [own, hash].filter((value) => value !== null && value !== undefined);
}

async function accountOf(
  ledger: ApiContext['ledger'],
  principal: Principal,
  { value, programId }: { value: string; programId: number | undefined },
): Promise<Read> {
  const { id } = visibleAffiliate(principal, await getAffiliate(ledger, idOf('affiliate', value)));
  const { holders, isPartial } = await findAccountHolders(ledger, { affiliateId: id, programId });
  const [own] = holders;
  if (own?.affiliateId !== id) throw notFound('payout account of this affiliate');
  return {
    subject: await affiliatesOf(
      ledger,
      holders.map(({ affiliateId }) => affiliateId),
    ),
    value,
    name: own.hint,
    isPartial,
  };
}

async function affiliatesOf(ledger: ApiContext['ledger'], affiliateIds: readonly number[]): Promise<Subject> {
  return {
    kind: 'affiliates',
    affiliateIds,
    campaignIds: await readLinkedCampaignIds(ledger, affiliateIds),
  };
}

function idOf(kind: IntegerIdKind, value: string): number {
  const id = parseId(kind, value);
  if (id === undefined) throw invalidField('value', `must be an id such as ${formatId(kind, 1)}`);
  return Number(id);
}
