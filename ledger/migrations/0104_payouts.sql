-- Payouts that can be canceled before they are handed over and returned after they were paid; debt that is written off.

alter table journals drop constraint journals_kind_check;
alter table journals add constraint journals_kind_check check (kind in (
  'earning', 'vesting', 'rejection', 'refund', 'payout_build', 'payout_settlement', 'payout_failure',
  'payout_cancellation', 'payout_return', 'debt_write_off'
));

alter table programs
  -- Debt this old, in days, is given up; null: never.
  add debt_write_off_days integer default 180 check (debt_write_off_days between 1 and 3650);
grant update (debt_write_off_days) on programs to afflux_app;

-- What clawbacks of the last days come to, for each affiliate in debt.
create index commission_lines_clawbacks on commission_lines (created_at) where kind = 'clawback';
-- Payouts whose fate has to be asked for.
create index payouts_unknown on payouts (provider, id) where state = 'unknown';
