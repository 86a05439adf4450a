-- Mails to be sent: written in the transaction of the change that they tell of, deleted when a mail server took them.
create table mails (
  id bigint generated always as identity primary key,
  -- The same at every attempt, so that a server or reader that has the mail already recognizes it.
  message_id uuid not null default gen_random_uuid(),
  -- Recipient, subject and text, encrypted: a mail may carry a link that signs its reader in.
  encrypted bytea not null,
  attempts integer not null default 0 check (attempts >= 0),
  due_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp()
);
create index on mails (due_at);
grant select, insert, update (attempts, due_at), delete on mails to afflux_app;
