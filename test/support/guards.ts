/**
 * Every guard of the tables that hold money or decide on it, and what it must refuse. `ledger/books/guards.engine.test.ts`
 * makes each attempt with the guard and without it, and fails for a guard of the schema that has no row here.
 */
export interface Guard {
  readonly table: string;
  readonly kind: 'constraint' | 'index' | 'trigger';
  readonly name: string;
  /** SQL, by the application's role unless `as` says otherwise: where that role lacks the right, not even the owner may. */
  readonly attempt: string;
  readonly as?: 'owner';
  /** The constraint a trigger refuses by. Default: the guard's own name. */
  readonly refusedBy?: string;
  /** What a trigger says that names no constraint. */
  readonly says?: RegExp;
  /** For triggers that write: the attempt is accepted, and this query of one truth value says yes after it. */
  readonly effect?: string;
  /** What stands behind the guard and stops the attempt without it: a constraint, or the beginning of what it says. */
  readonly behind?: string;
}

export function guardName({ table, kind, name }: Pick<Guard, 'table' | 'kind' | 'name'>): string {
  return kind === 'trigger' ? `trigger ${name} on ${table}` : `${kind} ${name}`;
}

/** Tables without money: access, sessions, deliveries, results of audits. Their writers are tested. */
export const OTHER_TABLES = [
  'affiliate_sessions',
  'api_keys',
  'applications',
  'blocks',
  'campaigns',
  'case_notes',
  'case_orders',
  'cases',
  'conditions',
  'idempotency_keys',
  'jobs',
  'link_templates',
  'links',
  'guess_limits',
  'mail_templates',
  'mails',
  'order_messages',
  'order_names',
  'outbox',
  'partner_reasons',
  'platform_keys',
  'postback_calls',
  'postback_settings',
  'audit_checks',
  'scheduled_tasks',
  'recovery_codes',
  'report_runs',
  'saved_reports',
  'schema_migrations',
  'second_factors',
  'seen_signatures',
  'sessions',
  'sign_up_pages',
  'sources',
  'tax_data',
  'tax_rules',
  'unidentified_calls',
  'users',
  'waiting_calls',
  'waiting_orders',
  'webhook_attempts',
  'webhook_deliveries',
  'webhook_endpoints',
  'webhook_events',
  'woken_calls',
];

/** SQL expressions by column. */
type Values = Readonly<Record<string, string>>;

/** Inserts the table's first row that fits `where` again, under an identity of its own, with these columns changed. */
function copy(table: string, values: Values, where = 'true', identity: 'user' | 'system' = 'user'): string {
  const changes = Object.entries(values).map(([column, expression]) => `'${column}', ${expression}`);
  return `insert into ${table} overriding ${identity} value
    select (jsonb_populate_record(r, jsonb_build_object(${changes.join(', ')}))).*
    from ${table} r where ${where} limit 1`;
}

/** The same with the identity of the row. */
function twice(table: string, values: Values, where?: string): string {
  return copy(table, values, where, 'system');
}

type Rows = Readonly<Record<string, string | Omit<Guard, 'table' | 'kind' | 'name'>>>;

/** Names of `constraints` and `indexes` refuse by themselves; triggers say how. */
function guardsOf(table: string, rows: { constraints?: Rows; indexes?: Rows; triggers?: Rows }): Guard[] {
  const of = (kind: Guard['kind'], named: Rows = {}) =>
    Object.entries(named).map(
      ([name, row]): Guard => ({ table, kind, name, ...(typeof row === 'string' ? { attempt: row } : row) }),
    );
  return [
    ...of('constraint', rows.constraints),
    ...of('index', rows.indexes),
    ...of('trigger', rows.triggers),
  ];
}

const behind = (guard: string, attempt: string) => ({ attempt, behind: guard });
const owner = (attempt: string) => ({ attempt, as: 'owner' }) as const;
const refused = (table: string, action: string) => new RegExp(`^${table} is append-only: ${action} refused`);
const stays = (table: string, ...[behind]: string[]) => ({
  ...owner(`delete from ${table}`),
  says: refused(table, 'DELETE'),
  ...(behind !== undefined && { behind }),
});
/** Cascading, because a foreign key would refuse before the trigger runs. */
const noTruncate = (table: string) => ({
  ...owner(`truncate ${table} cascade`),
  says: refused(table, 'TRUNCATE'),
});
const appendOnly = (table: string, column: string) => ({
  ...owner(`update ${table} set ${column} = ${column}`),
  says: refused(table, 'UPDATE'),
});

const PENDING_AND_EXPENSE = `(affiliate_id = 3 and kind = 'pending' or affiliate_id is null and kind = 'commission_expense')`;
/** A copied journal with two entries that sum to zero. */
const posted = (values: Values) => `${copy('journals', values)};
  insert into entries (journal_id, account_id, currency, amount_minor)
  select ${newest('journals')}, id, currency, case kind when 'pending' then 1 else -1 end
  from accounts where ${PENDING_AND_EXPENSE}`;
/** A copied payout that pays the small order's commission. */
const paying = (values: Values, identity: typeof copy | typeof twice = copy) => `
  with made as (
    ${identity('payouts', { state: `'created'`, amount_minor: '1', ...values })} returning id, amount_minor
  )
  insert into payout_items (payout_id, kind, commission_id, amount_minor)
  select made.id, 'commission', c.id, greatest(made.amount_minor, 1) from made, commissions c where ${SMALL}`;

/** A run that waits for a second person, with a batch. */
const WAITING = `update programs set payouts_need_approval = true where id = 1;
  insert into payout_runs (program_id, provider, state, started_by) values (1, 'test', 'awaiting_approval', 'x');
  insert into payout_batches (program_id, provider, run_id) select 1, 'test', max(id) from payout_runs`;
const IN_WAITING: Values = {
  affiliate_id: '4',
  provider_key: `'new'`,
  batch_id: '(select max(id) from payout_batches)',
};
/** A call of a source that waits for the order `new`, and is not due. */
const WAITING_CALL = `
  insert into sources (program_id, kind, name, address, address_hash) values (1, 'anything', 'a', '', sha256('a'));
  insert into postback_calls (request_id, via, program_id, params, outcome, status)
  values ('a', 'source', 1, '{}', 'rejected', 202);
  insert into waiting_calls (call_id, source_id, due)
  select (select max(id) from postback_calls), (select max(id) from sources), null;
  insert into waiting_orders (call_id, program_id, order_id, known_as, event_name)
  select call_id, 1, 'new', 'new', 'sale' from waiting_calls`;
/** The statement after the one there is. */
const NEXT_STATEMENT: Values = { number: '2', month: `'2026-02-01'` };
/** One byte, as JSON has it. */
const BYTES = `'\\x00'`;

/** Whether the attempt has written a webhook's event of this type. */
const noted = (type: string) =>
  `select exists (select from webhook_events where type = '${type}' and xmin = pg_current_xact_id()::xid)`;
const order = (orderId: string) => `(select id from conversions where order_id = '${orderId}')`;
/** The only commission of the order that is too small for a second level. */
const SMALL = `conversion_id = ${order('small')}`;
/** A commission in no payout. */
const FREE = `(select id from commissions where ${SMALL})`;
const OTHER_JOURNAL = `(select max(id) from journals)`;
/** The undecided order of 5 euros again, reported as 10 dollars at the one rate there is. */
const inDollars = (values: Values) =>
  copy(
    'conversions',
    {
      order_id: `'new'`,
      order_currency: `'USD'`,
      order_amount_minor: '1000',
      rate_id: '1',
      ...values,
    },
    `order_id = 'undecided'`,
  );
const newest = (table: string) => `(select max(id) from ${table})`;
const text = (length: number) => `repeat('x', ${length})`;

export const GUARDS: readonly Guard[] = [
  ...guardsOf('programs', {
    constraints: {
      programs_pkey: behind('programs_id_currency_key', twice('programs', {})),
      programs_coupon_evidence_check: copy('programs', { coupon_evidence: `'x'` }),
      programs_commission_base_check: copy('programs', { commission_base: `'x'` }),
      programs_currency_check: copy('programs', { currency: `'eur'` }),
      programs_debt_write_off_days_check: copy('programs', { debt_write_off_days: '0' }),
      programs_events: copy('programs', { events: `'{lead}'` }),
      programs_fingerprint_match_check: copy('programs', { fingerprint_match: `'x'` }),
      programs_fraud_rules_check: copy('programs', { fraud_rules: `'[]'::jsonb` }),
      programs_mail_sender_name_check: copy('programs', { mail_sender_name: `''` }),
      programs_name_check: copy('programs', { name: `''` }),
      programs_pass_parameters_check: copy('programs', { pass_parameters: `'{*,gclid}'` }),
      programs_payout_method_hold_days_check: copy('programs', { payout_method_hold_days: '91' }),
      programs_status_check: copy('programs', { status: `'x'` }),
      programs_tracking_domain_unique: `${copy('programs', { tracking_domain: `'x.example'` })};
        ${copy('programs', { tracking_domain: `'x.example'` })}`,
    },
    triggers: {
      keep_rules: {
        attempt: `update programs set fingerprint_match = 'off'`,
        effect: `select fingerprint_match = 'off' from program_rules where program_id = 1 order by version desc limit 1`,
      },
      open_accounts: {
        attempt: copy('programs', { name: `'new'` }),
        effect: `select count(*) = 2 from accounts where program_id = ${newest('programs')}`,
      },
      rules_version: {
        attempt: `update programs set fingerprint_match = 'off' where id = 1`,
        effect: `select rules_version = 2 from programs where id = 1`,
      },
      stamp: {
        attempt: `update programs set name = 'new' where id = 1`,
        effect: `select change_xid = pg_current_xact_id() from programs where id = 1`,
      },
    },
  }),
  ...guardsOf('program_rules', {
    constraints: {
      program_rules_pkey: owner(copy('program_rules', {})),
      program_rules_program_id_fkey: owner(copy('program_rules', { program_id: '999' })),
    },
    triggers: {
      append_only: appendOnly('program_rules', 'version'),
      no_truncate: noTruncate('program_rules'),
    },
  }),
  ...guardsOf('affiliates', {
    constraints: {
      affiliates_pkey: behind('affiliates_program_id_id_key', twice('affiliates', { ref_code: `'x'` })),
      affiliates_customer_ref_check: copy('affiliates', { ref_code: `'x'`, customer_ref: `''` }),
      affiliates_email_changed_by_check: copy('affiliates', { ref_code: `'x'`, email_changed_by: `''` }),
      affiliates_email_check: copy('affiliates', { ref_code: `'x'`, email: `'x'` }),
      affiliates_name_check: copy('affiliates', { ref_code: `'x'`, name: `''` }),
      affiliates_erased: copy('affiliates', { ref_code: `'x'`, erased_at: 'now()' }),
      affiliates_merged: copy('affiliates', { ref_code: `'x'`, merged_into: '1', merged_at: 'now()' }),
      affiliates_merged_into_known: copy('affiliates', {
        ref_code: `'x'`,
        status: `'terminated'`,
        merged_into: '999',
        merged_at: 'now()',
        merge_number: '2',
      }),
      affiliates_parent_known: copy('affiliates', { ref_code: `'x'`, parent_id: '999' }),
      affiliates_program_known: copy('affiliates', { ref_code: `'x'`, program_id: '999', parent_id: 'null' }),
      affiliates_ref_code_check: copy('affiliates', { ref_code: `'x y'` }),
      affiliates_ref_code_unique: copy('affiliates', {}),
      affiliates_status_check: copy('affiliates', { ref_code: `'x'`, status: `'x'` }),
      affiliates_status_note_check: copy('affiliates', { ref_code: `'x'`, status_note: `''` }),
    },
    indexes: {
      affiliates_merge_number: `
        update affiliates set status = 'terminated', merged_into = 1, merged_at = now(), merge_number = 1
        where id in (2, 3)`,
    },
    triggers: {
      merge_holds: {
        attempt: `update affiliates set status = 'terminated', merged_at = now(), merge_number = 2,
          merged_into = (select min(affiliate_id) from payout_methods) where id = 3`,
        effect: `select max(held_until) > now() + interval '3 days' from payout_methods`,
      },
      note_email: {
        attempt: `update affiliates set email = 'thief@evil.example' where id = 1`,
        effect: `select email_changed_at >= now() from affiliates where id = 1`,
      },
      open_accounts: {
        attempt: copy('affiliates', { ref_code: `'x'` }),
        effect: `select count(*) = 6 from accounts where affiliate_id = ${newest('affiliates')}`,
      },
      parent: {
        attempt: `update affiliates set parent_id = 3 where id = 1`,
        refusedBy: 'affiliates_no_cycle',
      },
      stamp: {
        attempt: `update affiliates set name = 'new' where id = 1`,
        effect: `select change_xid = pg_current_xact_id() from affiliates where id = 1`,
      },
      stays: stays('affiliates', 'accounts_program_id_affiliate_id_fkey'),
      transition: {
        attempt: `update affiliates set status = 'pending' where id = 1`,
        refusedBy: 'affiliates_transition',
      },
      webhook_changed: {
        attempt: `update affiliates set status = 'suspended' where id = 1`,
        effect: noted('affiliate.status_changed'),
      },
      webhook_created: {
        attempt: `${copy('affiliates', { ref_code: `'x'` })}`,
        effect: noted('affiliate.created'),
      },
      webhooks_end: {
        attempt: `insert into webhook_endpoints (program_id, affiliate_id, role, url, secret)
          values (1, 1, 'affiliate', 'https://y.example', '');
          update affiliates set status = 'terminated' where id = 1`,
        effect: `select exists (select from webhook_endpoints where affiliate_id = 1 and status = 'disabled')`,
      },
    },
  }),
  ...guardsOf('terms', {
    constraints: {
      terms_pkey: twice('terms', { campaign_id: '1' }),
      terms_affiliate_known: copy('terms', { affiliate_id: '999' }),
      terms_attribution_model_check: copy('terms', { campaign_id: '1', attribution_model: `'x'` }),
      terms_campaign_known: copy('terms', { campaign_id: '999' }),
      terms_commission_type_check: behind(
        'terms_parts',
        copy('terms', { campaign_id: '1', commission_type: `'x'` }),
      ),
      terms_cookie_days_check: copy('terms', { campaign_id: '1', cookie_days: '0' }),
      terms_event_name_check: copy('terms', { event_name: `'Lead'` }),
      terms_fixed_minor_check: copy('terms', {
        campaign_id: '1',
        commission_type: `'hybrid'`,
        fixed_minor: '-1',
      }),
      terms_hold_days_check: copy('terms', { campaign_id: '1', hold_days: '-1' }),
      terms_level_rates_bps_check: copy('terms', { campaign_id: '1', level_rates_bps: `array[-1]` }),
      terms_no_overlap: copy('terms', {}),
      terms_parts: copy('terms', { campaign_id: '1', commission_type: `'percent'`, fixed_minor: '1' }),
      terms_payout_min_minor_check: copy('terms', { campaign_id: '1', payout_min_minor: '-1' }),
      terms_payout_schedule_check: copy('terms', { campaign_id: '1', payout_schedule: `'x'` }),
      terms_program_known: copy('terms', { campaign_id: '1', currency: `'USD'` }),
      terms_rate_bps_check: copy('terms', { campaign_id: '1', rate_bps: '-1' }),
      terms_rates_within_order: copy('terms', {
        campaign_id: '1',
        rate_bps: '9000',
        level_rates_bps: `array[1001]`,
      }),
      terms_recurring_months_check: copy('terms', { campaign_id: '1', recurring_months: '-1' }),
      terms_rounding_check: copy('terms', { campaign_id: '1', rounding: `'up'` }),
      terms_special_rates: copy('terms', { campaign_id: '1', item_rates: `'{}'::jsonb` }),
      terms_tier_mode_check: copy('terms', { campaign_id: '1', tier_mode: `'x'` }),
      terms_tiers: copy('terms', {
        campaign_id: '1',
        tier_from_minor: `array[2, 1]`,
        tier_rates_bps: `array[1, 1]`,
      }),
      terms_withdrawn: copy('terms', { campaign_id: '1', validity: `'empty'` }),
      terms_origins_check: copy('terms', { campaign_id: '1', origins: `'[]'::jsonb` }),
    },
    triggers: {
      append_only: stays('terms', 'conversions_terms_id_fkey'),
      no_truncate: { ...noTruncate('terms'), behind: 'refunds is append-only' },
      only_ends: {
        attempt: `update terms set validity = tstzrange('2020-01-01', null)`,
        says: /^terms 1 can only be ended/,
      },
    },
  }),
  ...guardsOf('coupons', {
    constraints: {
      coupons_pkey: behind('coupons_program_id_id_key', twice('coupons', { code_key: `'new'` })),
      coupons_affiliate_known: copy('coupons', { code_key: `'new'`, affiliate_id: '999' }),
      coupons_campaign_known: copy('coupons', { code_key: `'new'`, campaign_id: '999' }),
      coupons_code_check: copy('coupons', { code_key: `'new'`, code: `''` }),
      coupons_code_key_check: copy('coupons', { code_key: `''` }),
      coupons_code_once: copy('coupons', {}),
      coupons_span: copy('coupons', {
        code_key: `'new'`,
        valid_from: `'2026-02-01'`,
        valid_until: `'2026-01-01'`,
      }),
    },
    triggers: {
      stays: stays('coupons'),
      withdrawn: {
        attempt: `update coupons set withdrawn_at = now(); update coupons set withdrawn_at = null`,
        refusedBy: 'coupons_withdrawn',
      },
    },
  }),
  ...guardsOf('affiliate_volumes', {
    constraints: {
      affiliate_volumes_pkey: copy('affiliate_volumes', {}),
      affiliate_volumes_affiliate_id_fkey: copy('affiliate_volumes', { affiliate_id: '999' }),
      affiliate_volumes_month_check: copy('affiliate_volumes', { month: `'2026-01-02'` }),
      affiliate_volumes_volume_minor_check: `update affiliate_volumes set volume_minor = -1`,
    },
  }),
  ...guardsOf('conversions', {
    constraints: {
      ...Object.fromEntries(
        Object.entries({
          click_id_check: { click_id: `''` },
          click_node_check: { click_node: '65536' },
          click_seq_check: { click_seq: '-1' },
          coupon_known: { coupon_id: '999' },
          coupons_check: { coupons: `array[null]::text[]` },
          commission_base_check: { commission_base: `'x'` },
          customer_kind_check: { customer_kind: `'x'` },
          customer_status_check: { customer_status: `'x'` },
          event_name_check: { event_name: `'Lead'` },
          items_check: { items: `'{}'::jsonb` },
          customer_email_hash_check: { customer_email_hash: `'\\x00'` },
          customer_mailbox_hash_check: { customer_mailbox_hash: `'\\x00'` },
          customer_id_check: { customer_id: `''` },
          order_id_check: { order_id: `''` },
          payload_hash_check: { payload_hash: `'\\x00'` },
          payment_account_hash_check: { payment_account_hash: `'\\x00'` },
          program_id_affiliate_id_fkey: { affiliate_id: '999' },
          program_id_campaign_id_fkey: { campaign_id: '999' },
          program_id_link_id_fkey: { link_id: '999' },
          program_known: { currency: `'USD'` },
          recurring_of_fkey: { recurring_of: '999' },
          source_check: { source: `'x'` },
          terms_id_fkey: { terms_id: '999' },
          user_agent_check: { user_agent: text(4_097) },
        } satisfies Record<string, Values>).map(([name, values]) => [
          `conversions_${name}`,
          copy('conversions', { order_id: `'new'`, ...values }, `order_id = 'undecided'`),
        ]),
      ),
      conversions_pkey: twice('conversions', { order_id: `'new'` }, `order_id = 'undecided'`),
      conversions_amount_minor_check: behind(
        'conversions_refunded_within_amount',
        copy('conversions', { order_id: `'new'`, amount_minor: '-1' }, `order_id = 'undecided'`),
      ),
      conversions_order_once: copy('conversions', {}, `order_id = 'undecided'`),
      conversions_exchanged: inDollars({ rate_id: 'null' }),
      conversions_order_amount_minor_check: behind(
        'conversions_exchange',
        inDollars({ order_amount_minor: '-1' }),
      ),
      conversions_rate_known: behind('conversions_exchange', inDollars({ rate_id: '999' })),
      conversions_cross_rate_known: behind('conversions_exchange', inDollars({ cross_rate_id: '999' })),
      conversions_credited: `update conversions set affiliate_id = null where order_id = 'small'`,
      conversions_click_subs: `update conversions set click_subs = '{a,b}' where order_id = 'small'`,
      conversions_reason_check: `update conversions set reason = 'x' where order_id = 'small'`,
      conversions_reasoned: `update conversions set state = 'unattributed' where order_id = 'undecided'`,
      conversions_refund_state: `update conversions set state = 'partially_refunded' where order_id = 'small'`,
      conversions_refunded_within_amount: `update conversions set refunded_minor = amount_minor + 1 where order_id = 'undecided'`,
    },
    triggers: {
      first_state: {
        attempt: copy('conversions', { order_id: `'new'` }, `order_id = 'small'`),
        refusedBy: 'conversions_transition',
      },
      transition: {
        attempt: `update conversions set state = 'received' where order_id = 'small'`,
        refusedBy: 'conversions_transition',
      },
      stays: stays('conversions', 'journals_conversion_id_fkey'),
      amount_grows: {
        attempt: `update conversions set amount_minor = amount_minor - 1 where order_id = 'undecided'`,
        refusedBy: 'conversions_amount_grows',
      },
      raised_exchange: {
        attempt: `${inDollars({})}; update conversions set order_amount_minor = order_amount_minor + 9
          where id = ${newest('conversions')}`,
        refusedBy: 'conversions_exchange',
      },
      evidence_stays: {
        attempt: `update conversions set evidence = '{}' where order_id = 'small'`,
        says: /^the evidence of decided conversion \d+ is kept/,
      },
      exchange: { attempt: inDollars({ order_amount_minor: '1002' }), refusedBy: 'conversions_exchange' },
      note_insert: {
        attempt: copy('conversions', { order_id: `'new'` }, `order_id = 'undecided'`),
        effect: `select exists (select from outbox where conversion_id = ${newest('conversions')})`,
      },
      note_update: {
        attempt: `delete from outbox; update conversions set reason = 'no_click' where order_id = 'undecided'`,
        effect: `select exists (select from outbox where conversion_id = ${order('undecided')})`,
      },
      webhook_created: {
        attempt: `${copy('conversions', { order_id: `'new'` }, `order_id = 'undecided'`)}`,
        effect: noted('conversion.created'),
      },
      webhook_changed: {
        attempt: `update conversions set refunded_minor = 1 where order_id = 'undecided'`,
        effect: noted('conversion.changed'),
      },
      wake_calls: {
        attempt: `${WAITING_CALL}; ${copy('conversions', { order_id: `'new'` }, `order_id = 'undecided'`)}`,
        effect: 'select exists (select from woken_calls)',
      },
    },
  }),
  ...guardsOf('rates', {
    constraints: {
      rates_pkey: twice('rates', { valid_from: `'2021-01-01'` }),
      rates_base_check: copy('rates', { base: `'usd'` }),
      rates_currencies: copy('rates', { quote: 'r.base' }),
      rates_once: copy('rates', {}),
      rates_quote_check: copy('rates', { quote: `'eur'` }),
      rates_rate_check: copy('rates', { valid_from: `'2021-01-01'`, rate: '0' }),
      rates_source_check: copy('rates', { valid_from: `'2021-01-01'`, source: `''` }),
      rates_span: copy('rates', { valid_from: `'2021-01-01'`, valid_until: `'2020-12-31'` }),
    },
    triggers: {
      append_only: appendOnly('rates', 'rate'),
      no_truncate: { ...noTruncate('rates'), behind: 'refunds is append-only' },
    },
  }),
  ...guardsOf('refunds', {
    constraints: {
      refunds_pkey: twice('refunds', { refund_ref: `'new'` }),
      refunds_items_check: copy('refunds', { refund_ref: `'new'`, items: `'{}'::jsonb` }),
      refunds_amount_minor_check: copy('refunds', {
        refund_ref: `'new'`,
        amount_minor: '-1',
        order_amount_minor: '1',
      }),
      refunds_reported_amount: copy('refunds', { refund_ref: `'new'`, amount_minor: '0' }),
      refunds_conversion_id_fkey: copy('refunds', { conversion_id: '999' }),
      refunds_ref_once: copy('refunds', {}),
      refunds_refund_ref_check: copy('refunds', { refund_ref: `''` }),
    },
    triggers: {
      append_only: appendOnly('refunds', 'amount_minor'),
      no_truncate: { ...noTruncate('refunds'), behind: 'order_changes is append-only' },
    },
  }),
  ...guardsOf('order_changes', {
    constraints: {
      order_changes_pkey: twice('order_changes', { refund_id: 'null', kind: `'restored'` }),
      order_changes_kind_check: behind('order_changes_refund', copy('order_changes', { kind: `'x'` })),
      order_changes_raised_minor_check: copy('order_changes', {
        kind: `'changed'`,
        refund_id: 'null',
        raised_minor: '-1',
      }),
      order_changes_amounts: copy('order_changes', {
        kind: `'restored'`,
        refund_id: 'null',
        lowered_minor: '1',
      }),
      order_changes_refund: copy('order_changes', {
        kind: `'restored'`,
        refund_id: `(select id from refunds where refund_ref = 'r1')`,
      }),
      order_changes_refund_once: copy('order_changes', {}),
      order_changes_refund_id_fkey: copy('order_changes', { refund_id: '999' }),
      order_changes_conversion_id_fkey: copy('order_changes', {
        kind: `'restored'`,
        refund_id: 'null',
        conversion_id: '999',
      }),
    },
    triggers: {
      append_only: appendOnly('order_changes', 'kind'),
      no_truncate: noTruncate('order_changes'),
    },
  }),
  ...guardsOf('accounts', {
    constraints: {
      accounts_pkey: {
        ...owner(twice('accounts', { affiliate_id: '1', kind: `'paid'` }, 'affiliate_id is null')),
        behind: 'accounts_id_currency_key',
      },
      accounts_kind: owner(copy('accounts', { kind: `'x'` })),
      accounts_program_id_affiliate_id_fkey: owner(
        copy('accounts', { affiliate_id: '999' }, `kind = 'pending'`),
      ),
      accounts_program_id_currency_fkey: owner(copy('accounts', { currency: `'USD'` })),
      accounts_sign: owner(`update accounts set balance_minor = -1 where kind = 'paid'`),
    },
    indexes: { accounts_once: owner(copy('accounts', {})) },
    triggers: { stays: stays('accounts') },
  }),
  ...guardsOf('commissions', {
    constraints: {
      commissions_pkey: twice('commissions', { conversion_id: order('undecided') }, SMALL),
      commissions_amount_minor_check: behind(
        'commissions_reversed_state',
        copy('commissions', { conversion_id: order('undecided'), amount_minor: '0' }, SMALL),
      ),
      commissions_item_minor_check: copy(
        'commissions',
        { conversion_id: order('undecided'), item_minor: 'array[-1]' },
        SMALL,
      ),
      commissions_level_check: copy('commissions', { conversion_id: order('undecided'), level: '11' }, SMALL),
      commissions_part_once: copy('commissions', { affiliate_id: '1' }, SMALL),
      commissions_part_check: copy('commissions', { part: '0' }, SMALL),
      commissions_cause_check: copy('commissions', { part: '2', cause: `'x'` }, SMALL),
      commissions_affiliate_once: copy('commissions', { level: '2' }, SMALL),
      commissions_reversed_within: `update commissions set reversed_minor = amount_minor + 2, clawback_minor = 1 where ${SMALL}`,
      commissions_reversed_state: `update commissions set reversed_minor = amount_minor where ${SMALL}`,
      commissions_paid_outside: copy(
        'commissions',
        { conversion_id: order('undecided'), paid_outside: 'true' },
        SMALL,
      ),
      commissions_volume_before_minor_check: copy(
        'commissions',
        { conversion_id: order('undecided'), volume_before_minor: '-1' },
        SMALL,
      ),
    },
    triggers: {
      first_state: {
        attempt: copy('commissions', { conversion_id: order('undecided'), state: `'available'` }, SMALL),
        refusedBy: 'commissions_transition',
      },
      paid_from_start: {
        attempt: copy('commissions', { conversion_id: order('undecided'), state: `'paid'` }, SMALL),
        refusedBy: 'commissions_transition',
      },
      transition: {
        attempt: `update commissions set state = 'paid' where ${SMALL}`,
        refusedBy: 'commissions_transition',
      },
      parents: {
        attempt: copy('commissions', { conversion_id: order('undecided'), terms_id: '999' }, SMALL),
        refusedBy: 'commissions_parents',
      },
      stays: stays('commissions', 'payout_items_commission_id_fkey'),
      note_insert: {
        attempt: `delete from outbox; ${copy('commissions', { conversion_id: order('undecided') }, SMALL)}`,
        effect: `select exists (select from outbox where conversion_id = ${order('undecided')})`,
      },
      note_update: {
        attempt: `delete from outbox; update commissions set reversed_minor = 2 where conversion_id = ${order('submitted')}`,
        effect: `select exists (select from outbox where conversion_id = ${order('submitted')})`,
      },
      webhook_confirmed: {
        attempt: `update commissions set state = 'available' where state = 'pending'`,
        effect: noted('conversion.confirmed'),
      },
      webhook_paid: {
        attempt: `
          update commissions set state = 'paid' where conversion_id = ${order('submitted')}`,
        effect: noted('conversion.paid'),
      },
    },
  }),
  ...guardsOf('commission_lines', {
    constraints: {
      commission_lines_pkey: twice('commission_lines', {
        kind: `'reversal'`,
        amount_minor: '-1',
        journal_id: OTHER_JOURNAL,
      }),
      commission_lines_check: copy('commission_lines', {
        kind: `'reversal'`,
        amount_minor: '1',
        journal_id: OTHER_JOURNAL,
      }),
      commission_lines_kind_check: copy('commission_lines', {
        kind: `'x'`,
        amount_minor: '-1',
        journal_id: OTHER_JOURNAL,
      }),
      commission_lines_journal_once: copy('commission_lines', { kind: `'reversal'`, amount_minor: '-1' }),
    },
    indexes: { commission_lines_earning_once: copy('commission_lines', { journal_id: OTHER_JOURNAL }) },
    triggers: {
      append_only: appendOnly('commission_lines', 'amount_minor'),
      no_truncate: noTruncate('commission_lines'),
      parents: {
        attempt: copy('commission_lines', { kind: `'reversal'`, amount_minor: '-1', commission_id: '999' }),
        refusedBy: 'commission_lines_parents',
      },
    },
  }),
  ...guardsOf('journals', {
    constraints: {
      journals_pkey: twice('journals', { idempotency_key: `'new'` }),
      journals_conversion_id_fkey: posted({ idempotency_key: `'new'`, conversion_id: '999' }),
      journals_key_once: posted({}),
      journals_kind_check: posted({ idempotency_key: `'new'`, kind: `'x'` }),
      journals_payout_id_fkey: posted({ idempotency_key: `'new'`, payout_id: '999' }),
      journals_program_id_fkey: posted({ idempotency_key: `'new'`, program_id: '999' }),
    },
    triggers: {
      append_only: appendOnly('journals', 'kind'),
      no_truncate: { ...noTruncate('journals'), behind: 'adjustments is append-only' },
      balance: { attempt: copy('journals', { idempotency_key: `'new'` }), refusedBy: 'journals_balance' },
      stamp: {
        attempt: posted({ idempotency_key: `'new'` }),
        effect: `select created_xid = pg_current_xact_id() from journals where idempotency_key = 'new'`,
        behind: 'entries_journal_open',
      },
    },
  }),
  ...guardsOf('entries', {
    constraints: {
      entries_pkey: behind('entries_journal_open', twice('entries', {})),
      entries_amount_minor_check: behind('entries_journal_open', copy('entries', { amount_minor: '0' })),
    },
    triggers: {
      append_only: appendOnly('entries', 'amount_minor'),
      no_truncate: noTruncate('entries'),
      apply_entries: { attempt: copy('entries', {}), refusedBy: 'entries_journal_open' },
    },
  }),
  ...guardsOf('payout_methods', {
    constraints: {
      payout_methods_pkey: copy('payout_methods', {}),
      payout_methods_account_hash_check: copy('payout_methods', { affiliate_id: '3', account_hash: BYTES }),
      payout_methods_affiliate_id_fkey: copy('payout_methods', { affiliate_id: '999' }),
      payout_methods_changed_by_check: copy('payout_methods', { affiliate_id: '3', changed_by: `''` }),
      payout_methods_hint_check: copy('payout_methods', { affiliate_id: '3', hint: `''` }),
      payout_methods_kind_check: copy('payout_methods', { affiliate_id: '3', kind: `'x'` }),
    },
    triggers: {
      hold: {
        attempt: `update payout_methods set account_hash = null`,
        effect: `select version = 2 and refused_at is null and held_until > now() + interval '2 days' from payout_methods`,
      },
    },
  }),
  ...guardsOf('payout_runs', {
    constraints: {
      payout_runs_pkey: twice('payout_runs', {}),
      payout_runs_decided: `update payout_runs set decided_by = 'x'`,
      payout_runs_affiliate_known: copy('payout_runs', { affiliate_id: '999' }),
      payout_runs_program_id_fkey: behind('payout_runs_waits', copy('payout_runs', { program_id: '999' })),
      payout_runs_provider_check: copy('payout_runs', { provider: `''` }),
      payout_runs_second_person: behind(
        'payout_runs_transition',
        `update payout_runs set state = 'approved', decided_at = now(), decided_by = started_by`,
      ),
      payout_runs_started_by_check: copy('payout_runs', { started_by: `''` }),
    },
    triggers: {
      first_state: {
        attempt: copy('payout_runs', { state: `'rejected'`, decided_at: 'now()', decided_by: `'x'` }),
        refusedBy: 'payout_runs_transition',
      },
      transition: {
        attempt: `update payout_runs set state = 'awaiting_approval'`,
        refusedBy: 'payout_runs_transition',
      },
      waits: {
        attempt: copy('payout_runs', { state: `'awaiting_approval'` }),
        refusedBy: 'payout_runs_waits',
      },
    },
  }),
  ...guardsOf('payout_batches', {
    constraints: {
      payout_batches_run_id_fkey: copy('payout_batches', { batch_key: `'new'`, run_id: '999' }),
      payout_batches_pkey: twice('payout_batches', { batch_key: `'new'` }),
      payout_batches_batch_key_key: copy('payout_batches', {}),
      payout_batches_program_id_fkey: copy('payout_batches', { batch_key: `'new'`, program_id: '999' }),
      payout_batches_provider_check: copy('payout_batches', { batch_key: `'new'`, provider: `''` }),
    },
  }),
  ...guardsOf('payouts', {
    constraints: {
      ...Object.fromEntries(
        Object.entries({
          batch_id_fkey: { batch_id: '999' },
          failure_check: { failure: `''` },
          program_id_affiliate_id_fkey: { affiliate_id: '999' },
          program_id_currency_fkey: { currency: `'USD'` },
        } satisfies Record<string, Values>).map(([name, values]) => [
          `payouts_${name}`,
          paying({ affiliate_id: '4', provider_key: `'new'`, ...values }),
        ]),
      ),
      payouts_provider_failure_check: paying({
        affiliate_id: '4',
        provider_key: `'new'`,
        provider_failure: `''`,
      }),
      payouts_destination: paying({ affiliate_id: '4', provider_key: `'new'`, destination_hint: 'null' }),
      payouts_destination_hint_check: paying({
        affiliate_id: '4',
        provider_key: `'new'`,
        destination_kind: `'email'`,
        destination_email: `'a@example.com'`,
        destination_details: 'null',
        method_version: 'null',
        destination_hint: `''`,
      }),
      payouts_destination_kind_check: paying({
        affiliate_id: '4',
        provider_key: `'new'`,
        destination_kind: `'x'`,
        destination_details: BYTES,
        destination_hint: `'x'`,
        method_version: '1',
      }),
      payouts_amount_minor_check: behind(
        'payouts_total',
        paying({ affiliate_id: '4', provider_key: `'new'`, amount_minor: '0' }),
      ),
      payouts_pkey: behind('payouts_total', paying({ affiliate_id: '4', provider_key: `'new'` }, twice)),
      payouts_provider_key_once: paying({ affiliate_id: '4' }),
    },
    indexes: { payouts_one_open: paying({ provider_key: `'new'` }) },
    triggers: {
      approved: {
        attempt: `${WAITING}; ${paying({ ...IN_WAITING, state: `'awaiting_approval'` })};
          update payouts set state = 'created' where state = 'awaiting_approval'`,
        refusedBy: 'payouts_approved',
      },
      approved_first: {
        attempt: `${WAITING}; ${paying(IN_WAITING)}`,
        refusedBy: 'payouts_approved',
      },
      total: {
        attempt: copy('payouts', { affiliate_id: '4', provider_key: `'new'`, state: `'created'` }),
        refusedBy: 'payouts_total',
      },
      first_state: {
        attempt: paying({ affiliate_id: '4', provider_key: `'new'`, state: 'r.state' }),
        refusedBy: 'payouts_transition',
      },
      transition: { attempt: `update payouts set state = 'created'`, refusedBy: 'payouts_transition' },
      end_items: {
        attempt: `update payouts set state = 'failed'`,
        effect: `select not exists (select from payout_items where live)`,
      },
      webhook_created: {
        attempt: `${paying({ affiliate_id: '4', provider_key: `'new'` })}`,
        effect: noted('payout.created'),
      },
      webhook_changed: {
        attempt: `update payouts set state = 'paid'`,
        effect: noted('payout.changed'),
      },
    },
  }),
  ...guardsOf('payout_items', {
    constraints: {
      payout_items_pkey: twice('payout_items', {
        commission_id: FREE,
      }),
      payout_items_check: copy('payout_items', { commission_id: FREE, amount_minor: '-1' }),
      payout_items_check1: copy('payout_items', { commission_id: FREE, kind: `'debt'`, amount_minor: '-1' }),
      payout_items_commission_id_fkey: copy('payout_items', { commission_id: '999' }),
      payout_items_kind_check: copy('payout_items', {
        kind: `'x'`,
        amount_minor: '-1',
        commission_id: 'null',
      }),
      payout_items_payout_id_fkey: copy('payout_items', {
        payout_id: '999',
        commission_id: FREE,
      }),
    },
    indexes: { payout_items_commission_once: copy('payout_items', {}) },
    triggers: {
      append_only: stays('payout_items'),
      no_truncate: noTruncate('payout_items'),
      only_ends: {
        ...owner(`update payout_items set amount_minor = amount_minor + 1`),
        says: /^a payout item only ends with its payout/,
      },
    },
  }),
  ...guardsOf('adjustments', {
    constraints: {
      adjustments_pkey: behind('adjustments_journal_once', twice('adjustments', {})),
      adjustments_actor_check: copy('adjustments', { journal_id: OTHER_JOURNAL, actor: `''` }),
      adjustments_journal_id_fkey: copy('adjustments', { journal_id: '999999' }),
      adjustments_journal_once: copy('adjustments', {}),
      adjustments_kind_check: copy('adjustments', { journal_id: OTHER_JOURNAL, kind: `'x'` }),
      adjustments_note_check: copy('adjustments', { journal_id: OTHER_JOURNAL, note: `''` }),
      adjustments_other: copy('adjustments', { journal_id: OTHER_JOURNAL, other_affiliate_id: '2' }),
      adjustments_program_id_affiliate_id_fkey: copy('adjustments', {
        journal_id: OTHER_JOURNAL,
        affiliate_id: '999',
      }),
      adjustments_program_id_currency_fkey: copy('adjustments', {
        journal_id: OTHER_JOURNAL,
        currency: `'USD'`,
      }),
      adjustments_program_id_other_affiliate_id_fkey: copy('adjustments', {
        journal_id: OTHER_JOURNAL,
        kind: `'merge'`,
        other_affiliate_id: '999',
      }),
      adjustments_sign: copy('adjustments', { journal_id: OTHER_JOURNAL, amount_minor: '-1' }),
    },
    triggers: {
      append_only: appendOnly('adjustments', 'note'),
      no_truncate: noTruncate('adjustments'),
    },
  }),
  ...guardsOf('audit_values', {
    constraints: {
      audit_values_pkey: owner(copy('audit_values', {})),
      audit_values_pseudonym: owner(copy('audit_values', { pseudonym: `'pseudonym:x'` })),
      audit_values_salt_check: owner(
        `insert into audit_values (pseudonym, subject, salt, value)
          values ('pseudonym:' || encode(sha256('\\x00'::bytea || convert_to('a', 'UTF8')), 'hex'), 'aff_1', '\\x00', 'a')`,
      ),
    },
    triggers: {
      stays: {
        ...owner(`update audit_values set subject = 'aff_9'`),
        says: refused('audit_values', 'UPDATE'),
      },
    },
  }),
  ...guardsOf('transitions', { constraints: { transitions_pkey: owner(copy('transitions', {})) } }),
  ...guardsOf('audit_log', {
    constraints: {
      audit_log_pkey: twice('audit_log', {}),
      audit_log_action_check: copy('audit_log', { action: `''` }),
      audit_log_actor_check: copy('audit_log', { actor: `''` }),
      audit_log_subject_check: copy('audit_log', { subject: `''` }),
    },
    triggers: {
      append_only: appendOnly('audit_log', 'actor'),
      no_truncate: noTruncate('audit_log'),
      pseudonyms: {
        attempt: copy('audit_log', { subject: `'aff_1'`, after: `'{"name": "Ann"}'::jsonb` }),
        effect: `select after::text not like '%Ann%' from audit_log where id = ${newest('audit_log')}`,
      },
      stamp_program: {
        attempt: copy('audit_log', { subject: `'aff_1'`, program_id: 'null' }),
        effect: `select program_id is not distinct from 1 from audit_log where id = ${newest('audit_log')}`,
      },
    },
  }),
  ...guardsOf('payout_bookings', {
    constraints: {
      payout_bookings_pkey: twice('payout_bookings', { reference: `'new'` }),
      payout_bookings_once: copy('payout_bookings', {}),
      payout_bookings_direction_check: copy('payout_bookings', { direction: `'x'` }),
      payout_bookings_payout_id_fkey: copy('payout_bookings', { payout_id: '999' }),
      payout_bookings_reference_check: copy('payout_bookings', { reference: `''` }),
    },
    triggers: {
      append_only: appendOnly('payout_bookings', 'reference'),
      no_truncate: noTruncate('payout_bookings'),
    },
  }),
  ...guardsOf('statement_documents', {
    constraints: {
      statement_documents_pkey: twice('statement_documents', NEXT_STATEMENT),
      statement_documents_number_once: copy('statement_documents', { ...NEXT_STATEMENT, number: '1' }),
      statement_documents_month_once: copy('statement_documents', { number: '2' }),
      statement_documents_affiliate_known: copy('statement_documents', {
        ...NEXT_STATEMENT,
        affiliate_id: '999',
      }),
      statement_documents_month_check: copy('statement_documents', {
        ...NEXT_STATEMENT,
        month: `'2026-02-02'`,
      }),
      statement_documents_number_check: copy('statement_documents', { ...NEXT_STATEMENT, number: '0' }),
      statement_documents_issuer_check: copy('statement_documents', { ...NEXT_STATEMENT, issuer: `'[]'` }),
      statement_documents_recipient_check: copy('statement_documents', {
        ...NEXT_STATEMENT,
        recipient: `'[]'`,
      }),
      statement_documents_vat_check: copy('statement_documents', { ...NEXT_STATEMENT, vat: `'x'` }),
      statement_documents_vat_rate_check: copy('statement_documents', {
        ...NEXT_STATEMENT,
        vat: `'domestic'`,
        vat_rate: '101',
      }),
      statement_documents_tax: copy('statement_documents', { ...NEXT_STATEMENT, vat_minor: '1' }),
    },
    triggers: {
      append_only: appendOnly('statement_documents', 'number'),
      no_truncate: noTruncate('statement_documents'),
      no_gap: {
        attempt: copy('statement_documents', { ...NEXT_STATEMENT, number: '3' }),
        refusedBy: 'statement_documents_no_gap',
      },
    },
  }),
  ...guardsOf('hash_chain', {
    constraints: {
      hash_chain_pkey: owner(copy('hash_chain', {})),
      hash_chain_chain_check: owner(copy('hash_chain', { chain: `'other'` })),
      hash_chain_row_count_check: owner(copy('hash_chain', { last_id: '0', row_count: '0' })),
      hash_chain_rewritten_head_check: owner(copy('hash_chain', { last_id: '0', rewritten_head: BYTES })),
      hash_chain_head_check: owner(copy('hash_chain', { last_id: '0', head: `''` })),
    },
    triggers: {
      append_only: appendOnly('hash_chain', 'head'),
      no_truncate: noTruncate('hash_chain'),
    },
  }),
];
