-- Proving the promises outlasts a request, as imports and reports do; what was found stands in proofs.

alter table jobs drop constraint jobs_kind_check;
alter table jobs add constraint jobs_kind_check check (kind in ('import', 'report', 'proof'));
create index jobs_proofs on jobs (id) where kind = 'proof';
