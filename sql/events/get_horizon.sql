-- sql/events/get_horizon.sql
-- Returns the safe horizon: the time before which no event appears any more.
-- Needs: events/advance_horizon, committed.
--
-- $1 bound timestamptz, as stored; null to ask for the lag
--
-- Returns: one row: horizon timestamptz, lag double precision, its age in seconds; both null if the
--          start of a transaction cannot be seen
-- Locks:   none
-- Index:   none
--
-- Every write locks the table segment, users or layer before it reads the clock, and uses a time
-- after the start of its transaction and after the stored horizon (users/lock and others). So a
-- write under way is found here, with a start that is not later than its events, or it begins
-- after this statement, with events after the bound. What has ended is in every later snapshot.
--
-- The start of a transaction of another role is hidden, if the role may not see it. That of a
-- prepared transaction is nowhere.

WITH writer AS (
    SELECT
        CASE
            WHEN a.xact_start IS NOT NULL THEN a.xact_start
            -- It has ended since its locks were read, or begins.
            WHEN a.state <> 'disabled' THEN 'infinity'
            ELSE '-infinity'
        END AS started_at
    FROM pg_locks AS l
    INNER JOIN pg_database AS d ON l.database = d.oid
    LEFT JOIN pg_stat_activity AS a ON l.pid = a.pid
    WHERE
        d.datname = current_database()
        AND l.relation IN ('segment'::regclass, 'users'::regclass, 'layer'::regclass)
        AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
        AND l.granted
),

safe AS (
    SELECT
        nullif(
            least($1::timestamptz, clock_timestamp(), min(writer.started_at)), '-infinity'
        ) AS horizon
    FROM writer
)

SELECT
    safe.horizon,
    extract(EPOCH FROM clock_timestamp() - safe.horizon)::double precision AS lag
FROM safe
