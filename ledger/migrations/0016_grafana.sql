-- What Grafana may see of the ledger: five views and nothing else.

create view grafana_balances as
  select b.program_id, p.name as program, b.affiliate_id, a.name as affiliate, b.currency,
    in_major_units(b.pending, b.currency) as pending, in_major_units(b.available, b.currency) as available,
    in_major_units(b.in_transit, b.currency) as in_transit, in_major_units(b.paid, b.currency) as paid,
    in_major_units(b.debt, b.currency) as debt
  from (
    select program_id, affiliate_id, currency,
      sum(balance_minor) filter (where kind = 'pending')::bigint as pending,
      sum(balance_minor) filter (where kind = 'available')::bigint as available,
      sum(balance_minor) filter (where kind = 'in_transit')::bigint as in_transit,
      sum(balance_minor) filter (where kind = 'paid')::bigint as paid,
      -sum(balance_minor) filter (where kind = 'debt')::bigint as debt
    from accounts where affiliate_id is not null group by program_id, affiliate_id, currency
  ) b
  join programs p on p.id = b.program_id
  join affiliates a on a.id = b.affiliate_id;

create view grafana_payouts as
  select o.id, o.batch_id, o.program_id, p.name as program, o.affiliate_id, a.name as affiliate, o.currency,
    in_major_units(o.amount_minor, o.currency) as amount, o.state, o.provider, o.failure, o.created_at, o.submitted_at,
    o.closed_at
  from payouts o
  join programs p on p.id = o.program_id
  join affiliates a on a.id = o.affiliate_id;

-- What was posted to affiliates' accounts, an entry a row.
create view grafana_movements as
  select j.created_at as at, j.kind, a.kind as account, a.program_id, a.affiliate_id, e.currency,
    in_major_units(e.amount_minor, e.currency) as amount
  from journals j
  join entries e on e.journal_id = j.id
  join accounts a on a.id = e.account_id
  where a.affiliate_id is not null;

-- Commissions for Grafana: what is in the hold until when, what is held for a review, and what has been paid.
create view grafana_commissions as
  select m.id, m.conversion_id, m.level, m.state, c.occurred_at, m.available_at, m.program_id, p.name as program,
    c.campaign_id, m.affiliate_id, a.name as affiliate, m.currency,
    in_major_units(m.amount_minor - m.reversed_minor, m.currency) as amount
  from commissions m
  join conversions c on c.id = m.conversion_id
  join programs p on p.id = m.program_id
  join affiliates a on a.id = m.affiliate_id;

create view grafana_audit_checks as
  select at, store, name, ok, detail from audit_checks;

grant select on grafana_balances, grafana_payouts, grafana_movements, grafana_commissions, grafana_audit_checks
  to afflux_grafana;
