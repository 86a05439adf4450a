-- Where an affiliate's money goes is kept sealed, in payout_methods; its hash tells whether an order was paid from there.

alter table affiliates drop payout_account;
alter table payout_methods add account_hash bytea check (length(account_hash) = 32);
grant update (account_hash) on payout_methods to afflux_app;
