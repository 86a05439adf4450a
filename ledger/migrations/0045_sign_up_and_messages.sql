-- Partners apply by a page of the program, mails are written by it, and what it says about an order can be asked about.

-- In the From of the mails of a program, before the address of the platform. Null: that of the platform.
alter table programs add column mail_sender_name text check (length(mail_sender_name) between 1 and 100);
grant update (mail_sender_name) on programs to afflux_app;

-- Why its status is what it is, for the partner.
alter table affiliates add column status_note text check (length(status_note) between 1 and 2000);
grant update (status_note) on affiliates to afflux_app;

-- Texts of conditions of participation; an application names the version that was accepted.
create table conditions (
  program_id integer not null constraint conditions_program_known references programs,
  version integer not null check (version >= 1),
  text text not null check (length(text) between 1 and 50000),
  created_at timestamptz not null default clock_timestamp(),
  primary key (program_id, version)
);
create trigger append_only before update or delete on conditions for each row execute function refuse_change();
create trigger no_truncate before truncate on conditions for each statement execute function refuse_change();
grant select, insert on conditions to afflux_app;

-- The page on which partners apply.
create table sign_up_pages (
  program_id integer primary key constraint sign_up_pages_program_known references programs,
  -- The part of its address.
  slug text not null constraint sign_up_pages_slug_unique unique
    check (slug ~ '^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$'),
  open boolean not null default false,
  questions jsonb not null check (jsonb_typeof(questions) = 'array'),
  -- In force; null: none.
  conditions_version integer,
  foreign key (program_id, conditions_version) references conditions (program_id, version)
);
grant select, insert, update (slug, open, questions, conditions_version) on sign_up_pages to afflux_app;

create table applications (
  id integer generated always as identity primary key,
  program_id integer not null constraint applications_program_known references programs,
  -- Unconfirmed: its address has not answered yet, and no operator sees it.
  state text not null default 'unconfirmed' check (state in ('unconfirmed', 'pending', 'approved', 'rejected')),
  name text not null check (length(name) between 1 and 200),
  email text not null check (email = lower(email) and length(email) between 3 and 254),
  -- ISO 3166-1 alpha-2, as the applicant says.
  country text check (country ~ '^[A-Z]{2}$'),
  -- [{"label", "answer"}]: the questions as they were put.
  answers jsonb not null check (jsonb_typeof(answers) = 'array'),
  conditions_version integer,
  -- SHA-256 of what the mailed link holds; null once it was used.
  token_hash bytea constraint applications_token_once unique check (length(token_hash) = 32),
  applied_at timestamptz not null default clock_timestamp(),
  -- Its link is good until then.
  expires_at timestamptz not null,
  -- By its address: then it was shown once more, and the conditions were accepted.
  confirmed_at timestamptz,
  decided_at timestamptz,
  decided_by text check (length(decided_by) between 1 and 200),
  -- For the applicant.
  note text check (length(note) between 1 and 2000),
  affiliate_id integer,
  foreign key (program_id, conditions_version) references conditions (program_id, version),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  check ((state = 'unconfirmed') = (confirmed_at is null) and (state = 'unconfirmed') = (token_hash is not null)),
  check ((state in ('approved', 'rejected')) = (decided_at is not null)),
  check ((state = 'approved') = (affiliate_id is not null))
);
-- Of those that wait for their confirmation an address has several: anybody can name it, and its owner chooses.
create unique index applications_pending_once on applications (program_id, email) where state = 'pending';
create index on applications (program_id, state, id);
create index on applications (affiliate_id) where affiliate_id is not null;
create index on applications (program_id, email);
create index on applications (state, applied_at);
grant select, insert, delete, update (state, token_hash, confirmed_at, decided_at, decided_by, note, affiliate_id)
  on applications to afflux_app;

-- Mails of a program in its own words; what is not here is written by the platform.
create table mail_templates (
  program_id integer not null constraint mail_templates_program_known references programs,
  kind text not null check (kind ~ '^[a-z_]{1,40}$'),
  subject text not null check (length(subject) between 1 and 200),
  text text not null check (length(text) between 1 and 10000),
  primary key (program_id, kind)
);
grant select, insert, delete, update (subject, text) on mail_templates to afflux_app;

-- What the program says to the partner about an order; the last word counts.
create table partner_reasons (
  conversion_id bigint primary key references conversions,
  code text not null check (code ~ '^[a-z_]{1,40}$'),
  text text check (length(text) between 1 and 2000),
  -- The order as it was when it was said: of one that has changed since it explains nothing.
  about text not null check (length(about) between 1 and 400),
  at timestamptz not null default clock_timestamp()
);
grant select, insert, update (code, text, about, at) on partner_reasons to afflux_app;

-- A reason is said of the later orders of a subscription too.
create index conversions_renewals on conversions (recurring_of) where recurring_of is not null;

-- Questions of a partner about an order, and the answers.
create table order_messages (
  id bigint generated always as identity primary key,
  program_id integer not null,
  affiliate_id integer not null,
  conversion_id bigint not null references conversions,
  author text not null check (author in ('affiliate', 'program')),
  -- As the audit log names them.
  actor text not null check (length(actor) between 1 and 200),
  text text not null check (length(text) between 1 and 2000),
  created_at timestamptz not null default clock_timestamp(),
  -- Of a question that waits for an answer.
  is_open boolean not null,
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  check (author = 'affiliate' or not is_open)
);
create index on order_messages (conversion_id, id);
create index on order_messages (affiliate_id);
create index order_messages_open on order_messages (affiliate_id) where is_open;
create index on order_messages (program_id, id) where is_open;
grant select, insert, update (is_open) on order_messages to afflux_app;

-- As before, and applications.
create or replace function program_of(subject text) returns integer language plpgsql stable as $$
declare
  number bigint;
begin
  if subject !~ '^[a-z]{3}_[1-9][0-9]{0,17}$' then
    return null;
  end if;
  number := substr(subject, 5)::bigint;
  return case left(subject, 3)
    when 'prg' then (select id from programs where id = number)
    when 'cmp' then (select program_id from campaigns where id = number)
    when 'aff' then (select program_id from affiliates where id = number)
    when 'lnk' then (select program_id from links where id = number)
    when 'cpn' then (select program_id from coupons where id = number)
    when 'trm' then (select program_id from terms where id = number)
    when 'key' then (select program_id from api_keys where id = number)
    when 'cnv' then (select program_id from conversions where id = number)
    when 'com' then (select program_id from commissions where id = number)
    when 'ref' then (select c.program_id from refunds r join conversions c on c.id = r.conversion_id where r.id = number)
    when 'pay' then (select program_id from payouts where id = number)
    when 'run' then (select program_id from payout_runs where id = number)
    when 'bat' then (select program_id from payout_batches where id = number)
    when 'usr' then (select program_id from users where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'app' then (select program_id from applications where id = number)
    when 'src' then (select program_id from sources where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;

-- As before, and its applications, the note of the status and what was written about its orders.
create or replace function erase_affiliate(erased integer) returns void language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  user_ids integer[] := array(select id from users where affiliate_id = erased);
  -- What it applied with, also where that was rejected, or nobody confirmed it.
  addresses text[] := array(
    select lower(email) from affiliates where id = erased union select email from users where affiliate_id = erased);
begin
  update affiliates set ref_code = 'erased-' || id, name = 'erased', email = 'erased-' || id || '@erased.invalid',
    customer_ref = null, email_changed_by = null, status_note = null, erased_at = clock_timestamp()
  where id = erased and status = 'terminated';
  if not found then
    raise exception 'affiliate % is not terminated', erased
      using errcode = 'check_violation', constraint = 'affiliates_erased';
  end if;
  delete from applications where affiliate_id = erased;
  delete from applications
  where program_id = (select program_id from affiliates where id = erased) and email = any (addresses)
    and affiliate_id is null;
  update partner_reasons set text = null
  where conversion_id in (select id from conversions where affiliate_id = erased);
  update order_messages set text = 'erased', is_open = false where affiliate_id = erased;
  delete from payout_methods where affiliate_id = erased;
  delete from tax_data where affiliate_id = erased;
  delete from affiliate_sessions where affiliate_id = erased;
  delete from sessions where user_id = any (user_ids);
  delete from recovery_codes where user_id = any (user_ids);
  delete from second_factors where user_id = any (user_ids);
  update users set name = 'erased', email = 'erased-' || id || '@erased.invalid', password_hash = null,
    status = 'disabled', last_login_at = null
  where id = any (user_ids);
  update api_keys set name = 'erased', revoked_at = coalesce(revoked_at, clock_timestamp()) where affiliate_id = erased;
  delete from audit_values
  where subject = 'aff_' || erased or subject in (select 'usr_' || id from unnest(user_ids) as u (id))
    or subject in (select 'key_' || id from api_keys where affiliate_id = erased);
end $$;

-- As before, and notes, which may say who somebody is.
create or replace function with_pseudonyms(value_subject text, given jsonb) returns jsonb language plpgsql as $$
begin
  return case jsonb_typeof(given)
    when 'object' then (
      select coalesce(jsonb_object_agg(name, case
        when name in ('name', 'email', 'customer_ref', 'hint', 'note', 'status_note') and jsonb_typeof(member) = 'string'
          then to_jsonb(keep_audit_value(value_subject, member #>> '{}'))
        else with_pseudonyms(value_subject, member) end), '{}')
      from jsonb_each(given) as members (name, member))
    when 'array' then (
      select coalesce(jsonb_agg(with_pseudonyms(value_subject, member) order by place), '[]')
      from jsonb_array_elements(given) with ordinality as members (member, place))
    else given end;
end $$;
