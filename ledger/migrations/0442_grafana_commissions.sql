-- Commissions for Grafana: what is in the hold until when, what is held for a review, and what has been paid.
create view grafana_commissions as
  select m.id, m.conversion_id, m.level, m.state, c.occurred_at, m.available_at, m.program_id, p.name as program,
    c.campaign_id, m.affiliate_id, a.name as affiliate, m.currency,
    in_major_units(m.amount_minor - m.reversed_minor, m.currency) as amount
  from commissions m
  join conversions c on c.id = m.conversion_id
  join programs p on p.id = m.program_id
  join affiliates a on a.id = m.affiliate_id;

grant select on grafana_commissions to afflux_grafana;
