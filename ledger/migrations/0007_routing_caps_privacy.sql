-- Links with rules and weighted destinations, clicks capped per UTC day, and what a program keeps of its visitors.

alter table links
  -- Checked by core/links/routing.ts before it is written; null: every click goes to landing_url.
  add routing jsonb check (jsonb_typeof(routing) = 'object'),
  -- Valid clicks of a UTC day after which the link leads to its fallback; null: none.
  add daily_click_cap integer check (daily_click_cap between 1 and 1000000000);

alter table campaigns
  add daily_click_cap integer check (daily_click_cap between 1 and 1000000000);

alter table programs
  -- Addresses are cut to /24 or /48 before they are written.
  add anonymise_ip boolean not null default false,
  -- Whether redirects set the click cookie.
  add cookies boolean not null default true,
  -- DNT: 1 or Sec-GPC: 1 means no cookie, a cut address and no fingerprint.
  add honour_opt_out boolean not null default false;

grant update (routing, daily_click_cap) on links to afflux_app;
grant update (daily_click_cap) on campaigns to afflux_app;
grant update (anonymise_ip, cookies, honour_opt_out) on programs to afflux_app;
