-- Merges of a program follow each other under its lock, so that their numbers are the order in which they became visible:
-- a decision keeps how many it had seen. Times cannot tell, because a merge is dated before its commit.
alter table affiliates add column merge_number integer;
update affiliates f set merge_number = n.number
from (
  select id, row_number() over (partition by program_id order by merged_at, id) as number
  from affiliates where merged_into is not null
) n
where n.id = f.id;
alter table affiliates
  drop constraint affiliates_merged,
  add constraint affiliates_merged check (
    (merged_into is null) = (merged_at is null) and (merged_into is null) = (merge_number is null)
    and merged_into is distinct from id and (merged_into is null or status = 'terminated')
  );
-- Partial, so that the number is no key: a merge would make decisions for its affiliates wait.
create unique index affiliates_merge_number on affiliates (program_id, merge_number) where merge_number is not null;
grant update (merge_number) on affiliates to afflux_app;

-- Removes who the customer of these orders was, and of the calls that reported them all but the outcome. A call that was
-- refused is of no order: it is known by the customer's id or the hash of the address. No late click reopens such an order,
-- because the decision would say again where its customer was.
create function erase_customer(order_ids bigint[], of_program integer, named_id text, named_email text) returns void
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  update conversions set customer_id = null, customer_email_hash = null, customer_mailbox_hash = null,
    payment_account_hash = null, ip = null, click_ip = null, user_agent = null, fingerprint = null, evidence = null,
    next_attempt_at = null
  where id = any (order_ids);
  update postback_calls set params = '{}', ip = null
  where program_id = of_program and (
    conversion_id = any (order_ids) or params ->> 'customer_id' = named_id or params ->> 'customer_email' = named_email
  );
end $$;
revoke execute on function erase_customer(bigint[], integer, text, text) from public;
grant execute on function erase_customer(bigint[], integer, text, text) to afflux_app;
