import { InputError } from '../../core/errors.ts';
import { parseAmount } from '../../core/money.ts';
import { plainText } from '../../core/text/plain-text.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { createUser, findUserByEmail, normalEmail, type User } from '../access/users.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { type Affiliate, affiliatesOfEmail, createAffiliate, getAffiliate } from '../programs/affiliates.ts';
import { type Campaign, createCampaign, findCampaign } from '../programs/campaigns.ts';
import { createLink, type Link, listLinks } from '../programs/links.ts';
import { createProgram, findProgram, type NewProgram, type Program } from '../programs/programs.ts';
import { refCodeOf } from '../programs/ref-codes.ts';
import { listTerms, type NewTerms, setTerms, type Terms } from '../programs/terms.ts';

/**
 * What an installation begins with, for `afflux init` and the setup page: all of it or nothing, in one transaction. What
 * is there already is found by its name or address, kept as it is and not made twice.
 */
export interface FirstSetup {
  readonly operator: { readonly email: string; readonly name: string };
  readonly program?: Pick<NewProgram, 'name' | 'currency'> | undefined;
  /** Of the program as a whole. */
  readonly terms?: FirstTerms | undefined;
  readonly campaign?:
    | {
        readonly name: string;
        readonly landingUrl: string;
        readonly allowedHosts?: readonly string[] | undefined;
      }
    | undefined;
  readonly affiliate?: { readonly name: string; readonly email: string } | undefined;
}

/** What these do not name is a default of terms. */
export interface FirstTerms extends Pick<NewTerms, 'rateBps' | 'holdDays' | 'cookieDays'> {
  /** A decimal in the currency of the program. */
  readonly payoutMin?: string | undefined;
}

/** One part of a setup. `isNew`: it was made, and not found. */
export interface Part<Made> {
  readonly made: Made;
  readonly isNew: boolean;
}

/** What there is after a setup; undefined: the part was not named. */
export interface FirstParts {
  readonly operator: Part<User>;
  readonly program?: Part<Program> | undefined;
  readonly terms?: Part<Terms> | undefined;
  readonly campaign?: Part<Campaign> | undefined;
  readonly affiliate?: Part<Affiliate> | undefined;
  /** Of the affiliate to the campaign. */
  readonly link?: Part<Link> | undefined;
}

/** Whether anybody has ever been an operator: setup by a token of the log ends with the first one. */
export async function hasOperator(sql: DatabaseSql): Promise<boolean> {
  const [row] = await sql<
    [{ known: boolean }]
  >`select exists (select from users where role = 'operator') as known`;
  return row.known;
}

/** Setups take turns until the end of their transaction, so that two at once make nothing twice. */
export async function lockSetup(tx: DatabaseTransaction): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended('first setup', 0))`;
}

/**
 * Makes what is missing of a setup, with an audit entry for each part. Takes {@link lockSetup}.
 * @param options.actor Of the audit log; by default the operator.
 * @throws InputError naming the field with its part, such as `program.currency`.
 */
export async function setUp(
  tx: DatabaseTransaction,
  setup: FirstSetup,
  options: { actor?: string } = {},
): Promise<FirstParts> {
  await lockSetup(tx);
  const operator = await inPart('operator', () => ensureOperator(tx, setup.operator));
  const actor = options.actor ?? `user:${operator.made.id}`;
  const audited = async <Made extends { id: number }>(
    part: Part<Made>,
    entry: { action: string; subject: string; after: Record<string, string> },
  ): Promise<Part<Made>> => {
    if (part.isNew)
      await appendAuditLog(tx, { actor, ...entry, subject: `${entry.subject}_${part.made.id}` });
    return part;
  };
  await audited(operator, {
    action: 'user.create',
    subject: 'usr',
    after: { email: operator.made.email, name: operator.made.name, role: 'operator' },
  });
  const { program: newProgram, terms: newTerms = {}, campaign: newCampaign, affiliate: newAffiliate } = setup;
  if (!newProgram) return { operator };
  const program = await audited(await inPart('program', () => ensureProgram(tx, newProgram)), {
    action: 'program.create',
    subject: 'prg',
    after: { name: newProgram.name, currency: newProgram.currency },
  });
  const programId = program.made.id;
  const terms = await audited(await inPart('terms', () => ensureTerms(tx, program.made, newTerms)), {
    action: 'terms.set',
    subject: 'trm',
    after: { program_id: `prg_${programId}` },
  });
  const campaign =
    newCampaign &&
    (await audited(await inPart('campaign', () => ensureCampaign(tx, { programId, ...newCampaign })), {
      action: 'campaign.create',
      subject: 'cmp',
      after: { program_id: `prg_${programId}`, name: newCampaign.name },
    }));
  const affiliate =
    newAffiliate &&
    (await audited(await inPart('affiliate', () => ensureAffiliate(tx, { programId, ...newAffiliate })), {
      action: 'affiliate.create',
      subject: 'aff',
      after: { program_id: `prg_${programId}`, name: newAffiliate.name, email: newAffiliate.email },
    }));
  const link =
    campaign &&
    affiliate &&
    (await audited(await inPart('link', () => ensureLink(tx, campaign.made, affiliate.made)), {
      action: 'link.create',
      subject: 'lnk',
      after: { campaign_id: `cmp_${campaign.made.id}`, affiliate_id: `aff_${affiliate.made.id}` },
    }));
  return { operator, program, terms, campaign, affiliate, link };
}

/** Names the part in front of the field at fault: `name` alone would be one of four. */
async function inPart<Result>(part: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(`${part}.${error.field}`, error.reason, error.code);
  }
}

async function ensureOperator(tx: DatabaseTransaction, given: FirstSetup['operator']): Promise<Part<User>> {
  const known = await findUserByEmail(tx, given.email);
  if (known && known.role !== 'operator') {
    throw new InputError('email', `belongs to a user of the role ${known.role}`);
  }
  if (known && known.programId !== null) {
    throw new InputError('email', `belongs to an operator of the program prg_${known.programId} alone`);
  }
  if (known) return { made: known, isNew: false };
  const user = {
    ...given,
    name: plainText(given.name),
    role: 'operator' as const,
    programId: null,
    affiliateId: null,
  };
  return { made: await createUser(tx, user), isNew: true };
}

async function ensureProgram(
  tx: DatabaseTransaction,
  given: NonNullable<FirstSetup['program']>,
): Promise<Part<Program>> {
  const name = plainText(given.name);
  const currency = plainText(given.currency).toUpperCase();
  const known = await findProgram(tx, name);
  if (!known) return { made: await createProgram(tx, { name, currency }), isNew: true };
  if (known.currency === currency) return { made: known, isNew: false };
  throw new InputError('currency', `of the program ${known.name} is ${known.currency}, which never changes`);
}

async function ensureTerms(
  tx: DatabaseTransaction,
  { id: programId, currency }: Program,
  { payoutMin, ...given }: FirstTerms,
): Promise<Part<Terms>> {
  const [known] = (await listTerms(tx, { programId })).filter(
    ({ campaignId, affiliateId, eventName, withdrawnAt }) =>
      campaignId === null && affiliateId === null && eventName === null && withdrawnAt === null,
  );
  if (known) return { made: known, isNew: false };
  const payoutMinMinor = payoutMin === undefined ? undefined : parseAmount(payoutMin, currency, 'payout_min');
  return { made: await setTerms(tx, { programId, payoutMinMinor, ...given }), isNew: true };
}

async function ensureCampaign(
  tx: DatabaseTransaction,
  given: NonNullable<FirstSetup['campaign']> & { programId: number },
): Promise<Part<Campaign>> {
  const campaign = { ...given, name: plainText(given.name) };
  const known = await findCampaign(tx, campaign);
  return known ? { made: known, isNew: false } : { made: await createCampaign(tx, campaign), isNew: true };
}

async function ensureAffiliate(
  tx: DatabaseTransaction,
  given: NonNullable<FirstSetup['affiliate']> & { programId: number },
): Promise<Part<Affiliate>> {
  const { programId } = given;
  const name = plainText(given.name);
  const email = normalEmail(given.email);
  const [id] = await affiliatesOfEmail(tx, { programId, email });
  const known = id === undefined ? undefined : await getAffiliate(tx, id);
  if (known) return { made: known, isNew: false };
  const affiliate = { programId, name, email, refCode: refCodeOf(name), status: 'active' as const };
  return { made: await createAffiliate(tx, affiliate), isNew: true };
}

async function ensureLink(
  tx: DatabaseTransaction,
  { id: campaignId, landingUrl }: Campaign,
  { id: affiliateId }: Affiliate,
): Promise<Part<Link>> {
  const { rows } = await listLinks(tx, { campaignId, affiliateId, limit: 1 });
  const [known] = rows;
  if (known) return { made: known, isNew: false };
  if (landingUrl === null) throw new InputError('landing_url', 'the campaign has no page to lead to');
  return { made: await createLink(tx, { campaignId, affiliateId, landingUrl }), isNew: true };
}
