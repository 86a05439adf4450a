-- Run on the ledger's database as its owner, with a password of your own.
ALTER ROLE afflux_grafana LOGIN PASSWORD 'change me' CONNECTION LIMIT 8;
ALTER ROLE afflux_grafana SET statement_timeout = '30s';
ALTER ROLE afflux_grafana SET default_transaction_read_only = on;
