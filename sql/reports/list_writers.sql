-- sql/reports/list_writers.sql
-- Lists the transactions that may have read the clock before a past time and may still write.
--
-- $1 before timestamptz
--
-- Returns: a row each: writer text, its virtual transaction id
-- Locks:   none
-- Index:   none
--
-- Every write locks the table segment or users before it reads the clock, because a statement locks
-- its tables before it is executed. Every role sees these locks. When a transaction started, a role
-- may not see: such a transaction is listed. One that started after the time is not, and neither
-- is an import that only receives its file.

SELECT DISTINCT l.virtualtransaction AS writer
FROM pg_locks AS l
INNER JOIN pg_database AS d ON l.database = d.oid
LEFT JOIN pg_stat_activity AS a ON l.pid = a.pid
WHERE
    d.datname = current_database()
    AND l.relation IN ('segment'::regclass, 'users'::regclass)
    AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
    AND l.granted
    AND coalesce(a.xact_start < $1::timestamptz, TRUE)
