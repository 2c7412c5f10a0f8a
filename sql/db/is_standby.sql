-- sql/db/is_standby.sql
-- Returns whether the server replays the log of another one, and so takes no writes.
--
-- Returns: one row: standby boolean
-- Locks:   none
-- Index:   none

SELECT pg_is_in_recovery() AS standby
