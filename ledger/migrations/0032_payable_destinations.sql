-- Money is paid only where it can arrive: a refused account stops payouts to it until it changes, amounts are what the
-- provider takes, and a fault of the operator's own account with the provider leaves payouts as they were.

-- A payment to this account was refused, or came back; null again when the account changes or an operator allows it.
alter table payout_methods add column refused_at timestamptz;
grant update (refused_at) on payout_methods to afflux_app;

create or replace function hold_payout_method() returns trigger language plpgsql as $$
declare
  affiliate_program_id integer;
begin
  -- Payouts lock the affiliate while they are built and while they are handed over: they see this change or come first.
  select program_id into affiliate_program_id from affiliates where id = new.affiliate_id for no key update;
  if tg_op = 'UPDATE' and new.kind = old.kind and new.account_hash = old.account_hash then
    new.version := old.version;
    new.updated_at := old.updated_at;
    new.changed_by := old.changed_by;
    new.held_until := old.held_until;
    return new;
  end if;
  new.version := case tg_op when 'UPDATE' then old.version + 1 else 1 end;
  new.updated_at := clock_timestamp();
  new.held_until := destination_held_until(affiliate_program_id);
  new.refused_at := null;
  return new;
end $$;

-- No provider pays to an affiliate's own address any more: a change of it is noted, and holds nothing.
create or replace function hold_affiliate_email() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and lower(new.email) = lower(old.email) then
    new.email_changed_at := old.email_changed_at;
    new.email_changed_by := old.email_changed_by;
    return new;
  end if;
  new.email_changed_at := clock_timestamp();
  return new;
end $$;
alter function hold_affiliate_email() rename to note_affiliate_email;
alter trigger hold_email on affiliates rename to note_email;
alter table affiliates drop column email_held_until;

alter table payouts
  -- What the provider said, for operators; `failure` is for the affiliate as well.
  add column provider_failure text check (length(provider_failure) between 1 and 1000),
  -- 30 letters, digits and a hyphen: PayPal takes no longer reference, SEPA no other characters.
  alter column provider_key set default 'pay-' || left(replace(gen_random_uuid()::text, '-', ''), 26);
grant update (provider_failure) on payouts to afflux_app;
update payouts p set provider_failure = failure, failure = 'the provider gave no answer' where state = 'unknown';
update payouts p set provider_failure = failure, failure = 'the provider refused the payment'
where state = 'failed' and exists (
  select from audit_log where subject = 'pay_' || p.id and action = 'payout.failed' and actor = 'payout run'
);

-- The provider refused to work for the operator: nothing was paid, and the payout waits for another run.
insert into transitions (entity, from_state, to_state) values ('payouts', 'submitting', 'created');

-- A run of one affiliate, whom an operator pays below the minimum, or after its termination.
alter table payout_runs
  add column affiliate_id integer,
  add constraint payout_runs_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id);

-- The rest stays available when a provider takes no such small unit; the next payout takes it up.
alter table payout_items
  drop constraint payout_items_kind_check,
  drop constraint payout_items_check,
  add constraint payout_items_kind_check check (kind in ('commission', 'debt', 'rest')),
  add constraint payout_items_check check (
    case kind when 'commission' then amount_minor > 0 when 'debt' then amount_minor < 0 else amount_minor <> 0 end
  );
create index payout_items_rest on payout_items (payout_id) where kind = 'rest' and live;
