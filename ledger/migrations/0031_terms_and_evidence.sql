-- Evidence is what a decision is recomputed from. It is written with the decision, and later only removed, where a
-- customer is erased: whatever happens to a decided order afterwards leaves it alone.
create function keep_evidence() returns trigger language plpgsql as $$
begin
  raise exception 'the evidence of decided conversion % is kept as it was written', old.id
    using errcode = 'restrict_violation';
end $$;
create trigger evidence_stays before update of evidence on conversions for each row
  when (old.state not in ('received', 'awaiting_click', 'unattributed') and new.evidence is not null
    and new.evidence::text is distinct from old.evidence::text)
  execute function keep_evidence();
