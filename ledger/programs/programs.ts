import { InputError } from '../../core/errors.ts';
import { normalizeUrl } from '../../core/links/macros.ts';
import { parsePassedParameters } from '../../core/links/passed-parameters.ts';
import { parseCurrency } from '../../core/money.ts';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { checkEvents } from './events.ts';
import { checkFraudThresholds, type FraudThresholds } from './fraud-rules.ts';

export const PROGRAM_STATUSES = ['active', 'paused', 'ended'] as const;
export type ProgramStatus = (typeof PROGRAM_STATUSES)[number];
/** What a fingerprint match without a click id is worth: nothing, a reviewer's time, or the commission. */
export const FINGERPRINT_MATCHES = ['off', 'review', 'credit'] as const;
export type FingerprintMatch = (typeof FINGERPRINT_MATCHES)[number];

/** Which counts when a click is of one affiliate and a coupon of another: by default the code, which the customer typed. */
export const COUPON_EVIDENCE = ['coupon_wins', 'click_wins'] as const;
export type CouponEvidence = (typeof COUPON_EVIDENCE)[number];

/** What a program's decisions are made by; every change is a new version, and the versions are kept. */
export interface FraudSettings {
  readonly fingerprintMatch: FingerprintMatch;
  /** Where they differ from the defaults. */
  readonly fraudRules: FraudThresholds;
  readonly couponEvidence: CouponEvidence;
}

/** What a program keeps of its visitors. */
export interface PrivacySettings {
  /** Addresses are cut to /24 or /48 before they are written. */
  readonly anonymiseIp: boolean;
  /** Whether redirects set the click cookie. */
  readonly cookies: boolean;
  /** `DNT: 1` or `Sec-GPC: 1`: no cookie, the address cut, no fingerprint. */
  readonly honourOptOut: boolean;
}

/** What stands between a program's money and one person who would move it alone. */
export interface PayoutSettings {
  /** Days, 0 to {@link MAX_HOLD_DAYS}, without payouts to a destination after it was changed. */
  readonly payoutMethodHoldDays: number;
  /** Whether a second person approves a run before it is handed over. */
  readonly payoutsNeedApproval: boolean;
}

/** A longer hold would keep affiliates from money that is theirs. */
export const MAX_HOLD_DAYS = 90;

/** Mail programs show no more of it. */
export const MAX_SENDER_NAME_LENGTH = 100;

/** What of an order's items earns: all that was paid, or that without tax, or without tax and shipping. */
export const COMMISSION_BASES = ['order_amount', 'net_of_tax', 'net_of_tax_and_shipping'] as const;
export type CommissionBase = (typeof COMMISSION_BASES)[number];

/** What a program's orders are of, and what of them earns. */
export interface OrderSettings {
  /** Names of its events; `sale` is always one. */
  readonly events: readonly string[];
  readonly commissionBase: CommissionBase;
}

/** Who may work on a program. */
export interface AccessSettings {
  /** Operators and finance must have a second factor before anything else is allowed. */
  readonly requireSecondFactor: boolean;
}

/** How its mails are sent. */
export interface MailSettings {
  /** Before the address in the From; null: that of the platform. */
  readonly mailSenderName: string | null;
}

export interface Program
  extends FraudSettings,
    PrivacySettings,
    PayoutSettings,
    OrderSettings,
    AccessSettings,
    MailSettings {
  readonly id: number;
  readonly name: string;
  /** ISO 4217; every order, commission and payout of the program is in it. */
  readonly currency: string;
  readonly status: ProgramStatus;
  readonly fallbackUrl: string | null;
  readonly trackingDomain: string | null;
  /** The parameters of a link's address that its redirect passes on; `*` alone: all. */
  readonly passParameters: readonly string[];
  /** Counts the changes of the fraud settings. */
  readonly rulesVersion: number;
  readonly createdAt: Date;
}

export interface NewProgram
  extends Partial<FraudSettings>,
    Partial<PrivacySettings>,
    Partial<PayoutSettings>,
    Partial<OrderSettings>,
    Partial<AccessSettings>,
    Partial<MailSettings> {
  readonly name: string;
  readonly currency: string;
  readonly fallbackUrl?: string | null | undefined;
  /** Host name on which unknown codes go to this program's fallback URL. */
  readonly trackingDomain?: string | null | undefined;
  /** By default the click ids of Google, Meta, TikTok and Microsoft. */
  readonly passParameters?: readonly string[] | undefined;
}

export type ProgramChanges = Partial<Omit<NewProgram, 'currency'>> & { readonly status?: ProgramStatus };

const PROGRAM_COLUMNS = [
  'id',
  'name',
  'currency',
  'status',
  'fallbackUrl',
  'trackingDomain',
  'passParameters',
  'fingerprintMatch',
  'fraudRules',
  'couponEvidence',
  'rulesVersion',
  'anonymiseIp',
  'cookies',
  'honourOptOut',
  'payoutMethodHoldDays',
  'payoutsNeedApproval',
  'events',
  'commissionBase',
  'requireSecondFactor',
  'mailSenderName',
  'createdAt',
];

const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;

function checkProgram(program: ProgramChanges): void {
  if (program.name !== undefined) checkText(program.name, 'name', MAX_NAME_LENGTH);
  if (program.trackingDomain && !HOST_NAME.test(program.trackingDomain)) {
    throw new InputError('tracking_domain', 'must be a host name in lower case, such as go.example.com');
  }
  if (program.mailSenderName) checkText(program.mailSenderName, 'mail_sender_name', MAX_SENDER_NAME_LENGTH);
  if (program.events) checkEvents(program.events);
  if (program.fraudRules) checkFraudThresholds(program.fraudRules);
}

/** Creates a program; without terms (`setTerms`) nothing is credited in it yet. @throws InputError. */
export async function createProgram(sql: DatabaseSql, program: NewProgram): Promise<Program> {
  checkProgram(program);
  const { name, fallbackUrl, trackingDomain, passParameters, fingerprintMatch, couponEvidence } = program;
  const { payoutMethodHoldDays, payoutsNeedApproval, events, commissionBase } = program;
  const {
    fraudRules = {},
    anonymiseIp,
    cookies,
    honourOptOut,
    requireSecondFactor,
    mailSenderName,
  } = program;
  const row = {
    name,
    currency: parseCurrency(program.currency),
    fallbackUrl: fallbackUrl && normalizeUrl(fallbackUrl, 'fallback_url'),
    trackingDomain,
    passParameters: passParameters && parsePassedParameters(passParameters, 'pass_parameters'),
    fingerprintMatch,
    fraudRules: sql.json(fraudRules),
    couponEvidence,
    anonymiseIp,
    cookies,
    honourOptOut,
    payoutMethodHoldDays,
    payoutsNeedApproval,
    events,
    commissionBase,
    requireSecondFactor,
    mailSenderName,
  };
  const [created] = await answeringInput(
    sql<[Program]>`insert into programs ${sql.values(givenColumns(row))} returning ${sql(PROGRAM_COLUMNS)}`,
  );
  return created;
}

export async function getProgram(sql: DatabaseSql, id: number): Promise<Program | undefined> {
  const [program] = await sql<Program[]>`select ${sql(PROGRAM_COLUMNS)} from programs where id = ${id}`;
  return program;
}

/** Whether the program, or any, shortens the addresses of its visitors. */
export async function shortensAddresses(sql: DatabaseSql, programId: number | null): Promise<boolean> {
  const [{ found }] = await sql<[{ found: boolean }]>`
    select exists (
      select from programs where anonymise_ip and (${programId}::integer is null or id = ${programId})) as found`;
  return found;
}

/** The oldest program of this name. */
export async function findProgram(sql: DatabaseSql, name: string): Promise<Program | undefined> {
  const [program] = await sql<Program[]>`
    select ${sql(PROGRAM_COLUMNS)} from programs where name = ${name} order by id limit 1`;
  return program;
}

/** Programs by id. */
export async function listPrograms(
  sql: DatabaseSql,
  request: PageRequest<number>,
): Promise<Page<Program, number>> {
  const rows = await sql<Program[]>`
    select ${sql(PROGRAM_COLUMNS)} from programs
    where id > ${request.after ?? 0} order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/**
 * Changes the given columns; of the fraud rules those that are named.
 * @throws InputError. Returns undefined when there is no such program.
 */
export async function updateProgram(
  sql: DatabaseSql,
  options: { id: number; changes: ProgramChanges },
): Promise<Program | undefined> {
  const { id, changes } = options;
  checkProgram(changes);
  const { name, status, fallbackUrl, trackingDomain, passParameters, fingerprintMatch } = changes;
  const { payoutMethodHoldDays, payoutsNeedApproval, couponEvidence, events, commissionBase } = changes;
  const { fraudRules, anonymiseIp, cookies, honourOptOut, requireSecondFactor, mailSenderName } = changes;
  const given = givenColumns({
    name,
    status,
    fallbackUrl: fallbackUrl && normalizeUrl(fallbackUrl, 'fallback_url'),
    trackingDomain,
    passParameters: passParameters && parsePassedParameters(passParameters, 'pass_parameters'),
    fingerprintMatch,
    couponEvidence,
    anonymiseIp,
    cookies,
    honourOptOut,
    payoutMethodHoldDays,
    payoutsNeedApproval,
    events,
    commissionBase,
    requireSecondFactor,
    mailSenderName,
  });
  const isBare = Object.keys(given).length === 0;
  if (isBare && fraudRules === undefined) return await getProgram(sql, id);
  const merged = sql`fraud_rules = fraud_rules || ${sql.json(fraudRules ?? {})}`;
  const [program] = await answeringInput(
    isBare
      ? sql<Program[]>`update programs set ${merged} where id = ${id} returning ${sql(PROGRAM_COLUMNS)}`
      : sql<Program[]>`
          update programs set ${sql.set(given)}, ${merged} where id = ${id} returning ${sql(PROGRAM_COLUMNS)}`,
  );
  return program;
}

/** The settings that had this version, by program; versions that never were are left out. */
export async function getRulesVersions(
  sql: DatabaseSql,
  versions: readonly { programId: number; rulesVersion: number }[],
): Promise<(FraudSettings & { programId: number; version: number })[]> {
  return await sql<(FraudSettings & { programId: number; version: number })[]>`
    select program_id, version, fingerprint_match, fraud_rules, coupon_evidence from program_rules
    where (program_id, version) in (
      select unnest(${versions.map(({ programId }) => programId)}::integer[]),
        unnest(${versions.map(({ rulesVersion }) => rulesVersion)}::integer[])
    )`;
}
