-- What partners keep themselves: where their money goes, sealed; and landing pages that links are made of.

create table payout_methods (
  affiliate_id integer primary key references affiliates,
  kind text not null check (kind in ('bank', 'paypal', 'stripe')),
  -- Sealed JSON; nobody reads it without a data key.
  details bytea not null,
  -- Enough to recognise it by.
  hint text not null check (length(hint) between 1 and 100),
  updated_at timestamptz not null default clock_timestamp()
);

create table link_templates (
  id integer generated always as identity primary key,
  program_id integer not null,
  campaign_id integer not null,
  name text not null check (length(name) between 1 and 200),
  landing_url text not null check (length(landing_url) between 1 and 2000),
  created_at timestamptz not null default clock_timestamp(),
  constraint link_templates_campaign_known foreign key (program_id, campaign_id) references campaigns (program_id, id),
  constraint link_templates_name_unique unique (campaign_id, name)
);

grant select, insert, update (kind, details, hint, updated_at) on payout_methods to afflux_app;
grant select, insert, delete on link_templates to afflux_app;
