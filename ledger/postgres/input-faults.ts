import { InputError, OperatingError } from '../../core/errors.ts';
import { DatabaseError } from '../../core/postgres/connection.ts';
import type { SqlParameter } from '../../core/postgres/sql.ts';
import { MAX_EMAIL_LENGTH } from '../../core/text-limits.ts';

/** What is wrong with somebody's input when a constraint of the database refuses it: the field, and what it must be. */
const FAULTS: Readonly<Record<string, readonly [field: string, message: string]>> = {
  programs_tracking_domain_unique: ['tracking_domain', 'belongs to another program'],
  campaigns_program_known: ['program_id', 'there is no such program'],
  campaigns_span: ['ends_at', 'must be later than starts_at'],
  affiliates_program_known: ['program_id', 'there is no such program'],
  affiliates_ref_code_unique: ['ref_code', 'is taken by another affiliate of the program'],
  affiliates_parent_known: ['parent_id', 'there is no such affiliate in the program'],
  affiliates_no_cycle: ['parent_id', 'an affiliate cannot be its own ancestor'],
  affiliates_depth: ['parent_id', 'the tree of affiliates may be 20 levels deep'],
  links_code_unique: ['code', 'is taken by another link'],
  links_code_form: ['code', 'must be 1 to 64 of A-Z a-z 0-9 _ -'],
  links_campaign_known: ['campaign_id', 'there is no such campaign in the program of the affiliate'],
  links_affiliate_known: ['affiliate_id', 'there is no such affiliate in the program of the campaign'],
  coupons_affiliate_known: ['affiliate_id', 'there is no such affiliate in the program'],
  coupons_campaign_known: ['campaign_id', 'there is no such campaign in the program'],
  coupons_code_once: ['code', 'belongs to an affiliate of the program at this time'],
  coupons_span: ['valid_until', 'must be later than valid_from'],
  blocks_program_known: ['program_id', 'there is no such program'],
  blocks_affiliate_known: ['affiliate_id', 'there is no such affiliate in the program'],
  blocks_span: ['ends_at', 'must be in the future'],
  blocks_once: ['value', 'is blocked already'],
  api_keys_program_known: ['program_id', 'there is no such program'],
  api_keys_affiliate_known: ['affiliate_id', 'there is no such affiliate in the program'],
  link_templates_campaign_known: ['campaign_id', 'there is no such campaign in the program'],
  link_templates_name_unique: ['name', 'is taken by another template of the campaign'],
  users_email_unique: ['email', 'belongs to another user'],
  users_program_known: ['program_id', 'there is no such program'],
  users_affiliate_known: ['affiliate_id', 'there is no such affiliate in the program'],
  users_scope: ['role', 'a user of the role affiliate needs an affiliate, of the role advertiser a program'],
  api_keys_scope: ['role', 'an affiliate key needs its affiliate, an advertiser key its program'],
  terms_program_known: ['program_id', 'there is no such program'],
  terms_campaign_known: ['campaign_id', 'there is no such campaign in the program'],
  terms_affiliate_known: ['affiliate_id', 'there is no such affiliate in the program'],
  terms_rates_within_order: ['level_rates_bps', 'the rates of all levels may be 10,000 in sum'],
  terms_parts: ['commission_type', 'percent has a rate, fixed an amount, hybrid may have both'],
  terms_tiers: [
    'tiers',
    'must be at most 10, each from a higher volume than the one before, and not with fixed',
  ],
  terms_special_rates: ['customer_rates', 'and item_rates must be rates of the commission type'],
  terms_no_overlap: ['from', 'there are terms of this scope that begin later'],
  sources_program_known: ['program_id', 'there is no such program'],
  sources_host_unique: ['host', 'belongs to another source'],
  saved_reports_program_known: ['program_id', 'there is no such program'],
  saved_reports_webhook_known: ['webhook_id', 'there is no such webhook'],
  sign_up_pages_slug_unique: ['slug', 'is taken by another program'],
  applications_pending_once: ['token', 'is of an address whose application is here already'],
  cases_program_known: ['program_id', 'there is no such program'],
  cases_assigned_known: ['assigned_to', 'there is no such user'],
  case_orders_open_once: ['conversion_ids', 'one of them is in another open case'],
  conversions_program_known: ['currency', 'must be the currency of the program'],
};

/** foreign key, unique, check, exclusion. */
const CONSTRAINT_CODES = new Set(['23503', '23505', '23514', '23P01']);

/**
 * Runs a command whose constraints answer for somebody's input. @throws InputError instead of the constraint's error,
 * OperatingError `wrong_state` for a change of status that the database does not allow.
 */
export async function answeringInput<T>(command: PromiseLike<T>): Promise<T> {
  try {
    return await command;
  } catch (error) {
    throw inputFault(error) ?? error;
  }
}

function inputFault(error: unknown): InputError | OperatingError | undefined {
  if (!(error instanceof DatabaseError) || !CONSTRAINT_CODES.has(error.code ?? '')) return undefined;
  const constraint = error.constraint ?? '';
  if (
    constraint === 'affiliates_transition' ||
    constraint === 'coupons_withdrawn' ||
    constraint === 'blocks_ended'
  ) {
    return new OperatingError('wrong_state', error.message, { cause: error });
  }
  const known = FAULTS[constraint];
  if (known) return new InputError(...known);
  // A check of one column is named after it: affiliates_ref_code_check.
  const prefix = `${error.table ?? ''}_`;
  const column = constraint.startsWith(prefix)
    ? /^(.+?)_check\d*$/.exec(constraint.slice(prefix.length))
    : null;
  return column?.[1] ? new InputError(column[1], 'is not an allowed value') : undefined;
}

/** Text of somebody's input that is stored and shown: no control characters, no broken Unicode, 1 to `max` characters. */
export function checkText(value: string, field: string, max: number): void {
  if (value === '') throw new InputError(field, 'must not be empty');
  if (value.length > max) throw new InputError(field, `must not exceed ${max} characters`);
  if (/\p{Cc}|\p{Cs}/u.test(value)) {
    throw new InputError(field, 'must not contain control characters or broken Unicode');
  }
}

/** An e-mail address of somebody's input: that a mail to it arrives is known only once one has. */
export function checkEmail(value: string, field: string): void {
  checkText(value, field, MAX_EMAIL_LENGTH);
  if (!/^[^\s@]+@[^\s@]+$/.test(value)) throw new InputError(field, 'must be an e-mail address');
}

/** The given columns of a row: what is undefined keeps its default, or its value. */
export function givenColumns(values: object): Record<string, SqlParameter> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
