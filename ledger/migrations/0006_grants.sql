-- What the processes may do, table by table. Nobody but the owner deletes or truncates; what is written in the
-- books stays as it is; of a row that moves through states only the columns that move can be updated.

grant select on all tables in schema public to afflux_app;

grant insert, update (name, status, fallback_url, tracking_domain, fingerprint_match, conversions_per_ip_hour,
  instant_conversion_seconds) on programs to afflux_app;
grant insert, update (name, status, starts_at, ends_at, fallback_url, cookie_days) on campaigns to afflux_app;
grant insert, update (ref_code, name, email, customer_ref, status, parent_id, approved_at) on affiliates to afflux_app;
grant insert, update (landing_url, status, expires_at) on links to afflux_app;
grant insert, update (expires_at, revoked_at, last_used_at) on api_keys to afflux_app;
grant insert on audit_log to afflux_app;

grant insert, update (validity) on terms to afflux_app;

grant insert, update (state, reason, refunded_minor, decided_at, click_ts, click_node, click_seq, click_ip,
  campaign_id, affiliate_id, link_id, terms_id, evidence, attempts, next_attempt_at, claimed_until)
  on conversions to afflux_app;
grant insert on refunds to afflux_app;

grant insert, update (state, reversed_minor, clawback_minor, available_at) on commissions to afflux_app;
grant insert on commission_lines, journals, entries to afflux_app;

grant insert, update (claimed_until, handed_over_at) on payout_batches to afflux_app;
grant insert, update (state, failure, submitted_at, closed_at) on payouts to afflux_app;
grant insert on payout_items to afflux_app;
