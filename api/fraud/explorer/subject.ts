import { z } from 'zod';
import { DAY_MS } from '../../../core/time.ts';
import {
  type AccountHolder,
  findAccountHolders,
  findCustomerOrders,
  readCampaignIds,
} from '../../../ledger/audit/explored-orders.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getLink } from '../../../ledger/programs/links.ts';
import { SAMPLED_CLICKS } from '../../../warehouse/lookups/explorer.ts';
import {
  EXPLORED_DAYS,
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
    'ip: an address; subnet: a network, /24 of IPv4 and /64 of IPv6; asn: AS680; fingerprint: a number; affiliate, link: an id; customer: the id at the shop, or the hash of an e-mail address as `sha256:` and 64 digits; account: the payout account of the affiliate with this id.',
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
}

/**
 * Reads key and value, limited to what the caller may see.
 * @throws InputError `value`, Problem `not_found` for an affiliate or a link that is not visible.
 */
export async function exploredOf(
  { ledger }: Pick<ApiContext, 'ledger'>,
  principal: Principal,
  asked: { key: ExplorerKey; value: string; program_id?: number | undefined; now: Date },
): Promise<Explored> {
  const programId = programFilter(principal, asked.program_id);
  const { subject, value, name = null } = await subjectOf(ledger, principal, { ...asked, programId });
  return {
    key: asked.key,
    value,
    name,
    programId,
    selection: select(subject, programId),
    affiliateIds: subject.kind === 'affiliates' ? subject.affiliateIds : [],
  };
}

interface Read {
  readonly subject: Subject;
  readonly value: string;
  readonly name?: string;
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
      return { subject: { kind: 'ip', ip }, value: ip };
    }
    case 'subnet': {
      const network = parseSubnet(value);
      return { subject: { kind: 'subnet', network }, value: network.text };
    }
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
      const holder = { affiliateId: affiliate.id, programId: affiliate.programId };
      return { subject: await affiliatesOf(ledger, [holder]), value, name: affiliate.name };
    }
    case 'link': {
      const link = inProgram(principal, await getLink(ledger, idOf('link', value)), 'link with this id');
      const { id: linkId, campaignId, code } = link;
      return { subject: { kind: 'link', linkId, campaignId }, value, name: code };
    }
    case 'account':
      return await accountOf(ledger, principal, { value, programId });
    case 'customer': {
      const from = new Date(now.getTime() - EXPLORED_DAYS * DAY_MS);
      const orders = await findCustomerOrders(ledger, {
        named: value,
        programId,
        from,
        limit: SAMPLED_CLICKS,
      });
      return { subject: { kind: 'orders', ...orders }, value };
    }
  }
}

async function accountOf(
  ledger: ApiContext['ledger'],
  principal: Principal,
  { value, programId }: { value: string; programId: number | undefined },
): Promise<Read> {
  const { id } = visibleAffiliate(principal, await getAffiliate(ledger, idOf('affiliate', value)));
  const holders = await findAccountHolders(ledger, { affiliateId: id, programId });
  const own = holders.find(({ affiliateId }) => affiliateId === id);
  if (!own) throw notFound('payout account of this affiliate');
  return { subject: await affiliatesOf(ledger, holders), value, name: own.hint };
}

async function affiliatesOf(
  ledger: ApiContext['ledger'],
  affiliates: readonly Pick<AccountHolder, 'affiliateId' | 'programId'>[],
): Promise<Subject> {
  const programIds = affiliates.map(({ programId }) => programId);
  return {
    kind: 'affiliates',
    affiliateIds: affiliates.map(({ affiliateId }) => affiliateId),
    campaignIds: await readCampaignIds(ledger, programIds),
  };
}

function idOf(kind: IntegerIdKind, value: string): number {
  const id = parseId(kind, value);
  if (id === undefined) throw invalidField('value', `must be an id such as ${formatId(kind, 1)}`);
  return Number(id);
}
