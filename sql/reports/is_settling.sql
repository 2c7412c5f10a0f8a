-- sql/reports/is_settling.sql
-- Tells whether a write is under way that may have read the clock before a time, once that is past.
--
-- $1 before timestamptz
--
-- Returns: one row: settling boolean
-- Locks:   none
-- Index:   none
--
-- Every write takes its transaction id before it reads the clock. So one that has no id yet will
-- read a later time, and need not be waited for; nor need one that began later.

SELECT
    clock_timestamp() >= $1::timestamptz
    AND EXISTS (
        SELECT FROM pg_stat_activity AS a
        WHERE
            a.datname = current_database()
            AND a.backend_xid IS NOT NULL
            AND a.xact_start < $1::timestamptz
    ) AS settling
