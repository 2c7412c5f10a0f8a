-- sql/reports/is_settling.sql
-- Tells whether a write is under way that may have read the clock before a time, once that is past.
--
-- $1 before timestamptz
--
-- Returns: one row: settling boolean
-- Locks:   none
-- Index:   none
--
-- Every write takes its transaction id, and locks rows of segment or users, before it reads the
-- clock. So one that has done neither yet will read a later time, and need not be waited for; nor
-- need one that began later, or one that only receives a file.

SELECT
    clock_timestamp() >= $1::timestamptz
    AND EXISTS (
        SELECT FROM pg_stat_activity AS a
        INNER JOIN pg_locks AS l ON a.pid = l.pid
        WHERE
            a.datname = current_database()
            AND a.backend_xid IS NOT NULL
            AND a.xact_start < $1::timestamptz
            AND l.relation IN ('segment'::regclass, 'users'::regclass)
            AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
    ) AS settling
