-- sql/reports/get_replay.sql
-- Returns the time of the database, and on a standby until when it has replayed its primary.
--
-- Returns: one row: now timestamptz, standby boolean,
--          replayed_until timestamptz, the time of the last replayed commit; null if there is none
-- Locks:   none
-- Index:   none

SELECT
    clock_timestamp() AS now,
    pg_is_in_recovery() AS standby,
    pg_last_xact_replay_timestamp() AS replayed_until
