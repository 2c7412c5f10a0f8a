-- sql/db/get_now.sql
-- Returns the time of the database.
--
-- Returns: one row: now timestamptz
-- Locks:   none
-- Index:   none

SELECT clock_timestamp() AS now
