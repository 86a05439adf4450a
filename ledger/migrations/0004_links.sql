-- Links, and the landing pages that affiliates make links from.

create table links (
  id integer generated always as identity primary key,
  code text collate "C" not null constraint links_code_unique unique
    constraint links_code_form check (code ~ '^[A-Za-z0-9_-]{1,64}$'),
  program_id integer not null,
  campaign_id integer not null,
  affiliate_id integer not null,
  landing_url text not null check (length(landing_url) <= 2000),
  status text not null default 'active' check (status in ('active', 'paused')),
  expires_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  -- Rules and weighted destinations, checked by core/links/routing.ts; null: every click goes to landing_url.
  routing jsonb check (jsonb_typeof(routing) = 'object'),
  -- Valid clicks of a UTC day after which the link leads to its fallback; null: no cap.
  daily_click_cap integer check (daily_click_cap between 1 and 1000000000),
  unique (program_id, id),
  constraint links_campaign_known foreign key (program_id, campaign_id) references campaigns (program_id, id),
  constraint links_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id)
);
create index on links (change_xid);
create index on links (affiliate_id, id);
create index on links (campaign_id, id);
create trigger stamp before insert or update on links for each row execute function stamp_change();
grant select, insert, update (landing_url, status, expires_at, routing, daily_click_cap) on links to afflux_app;

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
grant select, insert, delete on link_templates to afflux_app;
