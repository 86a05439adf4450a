-- Fingerprints of the keys that something was made with: click ids, encrypted values, signed counts. A process that lacks
-- one of them could not read what others made, and is refused (core/keys/platform-keys.ts).
create table platform_keys (
  kind text not null check (kind in ('click', 'data', 'count')),
  fingerprint text not null check (fingerprint ~ '^[0-9a-f]{16}$'),
  registered_at timestamptz not null default clock_timestamp(),
  primary key (kind, fingerprint)
);
grant select, insert, delete on platform_keys to afflux_app;
