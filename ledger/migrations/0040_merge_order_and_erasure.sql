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
