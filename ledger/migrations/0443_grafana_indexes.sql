-- Dashboards ask every minute: what is held is few among many, and orders are written nearly in the order of their time.
create index commissions_held on commissions (program_id, affiliate_id) where state = 'held';
create index conversions_by_time on conversions using brin (occurred_at);
