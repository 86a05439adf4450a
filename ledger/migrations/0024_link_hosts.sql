-- The hosts to which the links of a campaign may lead.

alter table campaigns
  -- The page that is advertised; links may lead to its host.
  add landing_url text check (length(landing_url) between 1 and 2000),
  -- Patterns of further hosts, as core/links/destination.ts reads them; '*': every host.
  add allowed_hosts text[] not null default '{}' check (cardinality(allowed_hosts) <= 100);
grant update (landing_url, allowed_hosts) on campaigns to afflux_app;

-- Where a link can lead: the host of its landing page and of each of its destinations.
alter table links add hosts text[] not null default '{}';
grant update (hosts) on links to afflux_app;

-- Links of before lead where they led. '?' stands for a URL whose host only a browser's parser can tell; such a link is
-- listed as one that its campaign does not allow.
update links set hosts = (
  select array_agg(distinct coalesce(
    substring(lower(url) from '^https?://([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::[0-9]+)?(?:[/?#]|$)'), '?'))
  from (
    select landing_url
    union all select jsonb_path_query(routing, '$.rules[*].destinations[*].url') #>> '{}'
    union all select jsonb_path_query(routing, '$.destinations[*].url') #>> '{}'
  ) as target (url)
);

-- What operators have shown to be right: the landing pages that they offer, and the host to which all links agree.
update campaigns set allowed_hosts = known.hosts
from (
  select campaign_id, (array_agg(distinct host order by host))[1:100] as hosts
  from (
    select campaign_id,
      substring(lower(landing_url) from '^https?://([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::[0-9]+)?(?:[/?#]|$)') as host
    from link_templates
    union all
    select campaign_id, min(host) from links, unnest(hosts) as host
    group by campaign_id having count(distinct host) = 1
  ) as target
  where host <> '?'
  group by campaign_id
) as known
where known.campaign_id = campaigns.id;
