-- A whole id that is searched for is looked up in every program that the searcher sees.
create index on conversions (program_id, click_id) where click_id is not null;
create index on postback_calls (program_id, code, id) where code is not null;
