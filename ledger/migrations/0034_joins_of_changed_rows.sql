-- These functions join the rows of a statement before and after it. PostgreSQL plans the join once for each session, by the
-- number of rows at the first call: after one of a single row, a nested loop compared every row of a statement of thousands
-- with every other one, and building the payouts of an affiliate with 6,000 commissions took longer than a statement may.
alter function check_state_changes() set enable_nestloop = off;
alter function note_changed_conversions() set enable_nestloop = off;
alter function note_reversals() set enable_nestloop = off;
alter function note_conversions_changed() set enable_nestloop = off;
alter function note_conversions_paid() set enable_nestloop = off;
alter function note_payouts_changed() set enable_nestloop = off;
alter function note_affiliates_changed() set enable_nestloop = off;
