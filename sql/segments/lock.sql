-- sql/segments/lock.sql
-- Locks a live segment for a change of its life or its percentage, then reads the clock.
-- Needs: segments/lock_slug.
--
-- $1 slug text
--
-- Returns: one row: id bigint, locked_at timestamptz, ends_at timestamptz, null without an end; or
--          none
-- Locks:   the segment FOR UPDATE
-- Index:   segment_slug_deleted_at_key

-- No write is before what the feed has served, or before its own transaction: events/get_horizon.
WITH after_feed AS MATERIALIZED (
    SELECT greatest(now(), max(f.horizon)) + interval '1 microsecond' AS at
    FROM feed AS f
),

-- MATERIALIZED: the row is locked before the clock is read.
locked AS MATERIALIZED (
    SELECT
        s.id,
        s.deleted_at
    FROM segment AS s
    WHERE s.slug = $1::text AND s.deleted_at > clock_timestamp()
    FOR UPDATE
),

timed AS MATERIALIZED (
    SELECT
        locked.id,
        locked.deleted_at,
        greatest(clock_timestamp(), after_feed.at) AS locked_at
    FROM locked
    CROSS JOIN after_feed
)

-- The life may have ended while this waited for the lock.
SELECT
    timed.id,
    timed.locked_at,
    nullif(timed.deleted_at, 'infinity') AS ends_at
FROM timed
WHERE timed.deleted_at > timed.locked_at
