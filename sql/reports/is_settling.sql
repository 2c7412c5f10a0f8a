-- sql/reports/is_settling.sql
-- Returns whether a write is under way that may have read the clock before a past time.
--
-- $1 before timestamptz
--
-- Returns: one row: settling boolean
-- Locks:   none
-- Index:   none
--
-- Every write takes its transaction id, and locks rows of segment or users, before it reads the
-- clock. A transaction that has done neither will read a later time, so it is not waited for. One
-- that started after that time, or only receives a file, is not waited for either.

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
