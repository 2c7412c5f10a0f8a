-- sql/db/list_applied_migrations.sql
-- Lists the migrations that the database has.
--
-- Returns: a row each: id text
-- Locks:   none
-- Index:   none: a handful of rows, read once at start

SELECT m.migration_id AS id
FROM _yoyo_migration AS m
