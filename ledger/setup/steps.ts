import type { PayoutProvider } from '../payouts/provider.ts';
import { limitsIn } from '../payouts/provider.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import type { Program } from '../programs/programs.ts';

/**
 * What a program needs until its first partner is paid, in the order in which it is set up. Without a required one nothing
 * is credited or paid; the others protect.
 */
const STEPS = {
  terms: { required: true, text: 'Terms: what partners earn' },
  campaign: { required: true, text: 'An active campaign with a landing page' },
  affiliate: { required: true, text: 'An active partner' },
  link: { required: true, text: 'An active link of a partner' },
  shop_key: { required: true, text: 'A source or a key by which the shop reports its orders' },
  first_call: { required: true, text: 'The first order or call of the shop' },
  payout_provider: { required: true, text: 'A payout provider that pays the currency of the program' },
  payout_hold: { required: false, text: 'Days without payouts after a payout method was changed' },
  mail: { required: false, text: 'A mail server: without one, mails are only logged' },
} as const satisfies Readonly<Record<string, { required: boolean; text: string }>>;

export type SetupStepName = keyof typeof STEPS;
export const SETUP_STEP_NAMES = Object.keys(STEPS) as [SetupStepName, ...SetupStepName[]];

export interface SetupStep {
  readonly name: SetupStepName;
  readonly text: string;
  readonly required: boolean;
  readonly done: boolean;
}

/** What of the platform, beside the program, a step hangs on. */
export interface PlatformSetup {
  readonly payoutProvider: Pick<PayoutProvider, 'limits'>;
  /** Whether there is a mail server. */
  readonly sendsMails: boolean;
}

type StoredStep = 'terms' | 'campaign' | 'affiliate' | 'link' | 'shopKey' | 'firstCall';

/** Every step of a program with whether it is done now. */
export async function setupSteps(
  sql: DatabaseSql,
  program: Pick<Program, 'id' | 'currency' | 'payoutMethodHoldDays'>,
  { payoutProvider, sendsMails }: PlatformSetup,
): Promise<SetupStep[]> {
  const { id } = program;
  const [stored] = await sql<[Record<StoredStep, boolean>]>`
    select
      exists (select from terms where program_id = ${id} and withdrawn_at is null) as terms,
      exists (
        select from campaigns where program_id = ${id} and status = 'active' and landing_url is not null
      ) as campaign,
      exists (select from affiliates where program_id = ${id} and status = 'active') as affiliate,
      exists (
        select from links l join affiliates a on a.id = l.affiliate_id and a.status = 'active'
        where l.program_id = ${id} and l.status = 'active'
      ) as link,
      exists (
        select from api_keys where program_id = ${id} and role in ('advertiser', 'operator') and revoked_at is null
          and (expires_at is null or expires_at > clock_timestamp())
      ) or exists (select from sources where program_id = ${id} and status = 'active') as shop_key,
      exists (select from conversions where program_id = ${id})
        or exists (select from postback_calls where program_id = ${id}) as first_call`;
  const done: Readonly<Record<SetupStepName, boolean>> = {
    terms: stored.terms,
    campaign: stored.campaign,
    affiliate: stored.affiliate,
    link: stored.link,
    shop_key: stored.shopKey,
    first_call: stored.firstCall,
    payout_provider: limitsIn(payoutProvider.limits, program.currency) !== undefined,
    payout_hold: program.payoutMethodHoldDays > 0,
    mail: sendsMails,
  };
  return SETUP_STEP_NAMES.map((name) => ({ name, ...STEPS[name], done: done[name] }));
}
