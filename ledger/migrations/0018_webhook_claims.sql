-- Deliveries are claimed endpoint by endpoint, so that the backlog of one does not have to be read for the others.
create index webhook_deliveries_due on webhook_deliveries (endpoint_id, next_attempt_at, id) where state = 'pending';
create index webhook_deliveries_claimed on webhook_deliveries (endpoint_id)
  where state = 'pending' and claimed_until is not null;
drop index webhook_deliveries_next_attempt_at_id_idx;
