-- sql/reports/get_now.sql
-- Tells the time.
--
-- Returns: one row: now timestamptz
-- Locks:   none
-- Index:   none

SELECT clock_timestamp() AS now
