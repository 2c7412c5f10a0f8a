-- sql/members/lock_segment.sql
-- Locks a live segment for a change of many of its members, then reads the clock.
-- Needs: members/lock_slugs, members/lock_layer.
--
-- $1 slug     text
-- $2 layer_id bigint, of its layer, null outside layers
--
-- Returns: one row: id bigint, ends_at timestamptz, null without an end, layer_id bigint, as given,
--          locked_at timestamptz; or none
-- Locks:   the segment, and the others in the layer, FOR NO KEY UPDATE, in the order of their ids
-- Index:   segment_slug_deleted_at_key, segment_pkey
--
-- A change of a user locks its segments FOR SHARE, so it waits if it is about one of these. Changes
-- of the same users in other segments go on.

-- No write is before what the feed has served, or before its own transaction: events/get_horizon.
WITH after_feed AS MATERIALIZED (
    SELECT greatest(now(), max(f.horizon)) + interval '1 microsecond' AS at
    FROM feed AS f
),

-- MATERIALIZED: the rows are locked before the clock is read.
locked AS MATERIALIZED (
    SELECT
        s.id,
        s.slug,
        s.deleted_at
    FROM segment AS s
    WHERE
        s.id IN (
            SELECT mine.id
            FROM segment AS mine
            WHERE mine.slug = $1::text AND mine.deleted_at > clock_timestamp()
            UNION ALL
            SELECT l.segment_id
            FROM layer_segment AS l
            WHERE l.layer_id = $2::bigint AND l.valid_to > clock_timestamp()
        )
    ORDER BY s.id
    FOR NO KEY UPDATE
),

timed AS MATERIALIZED (
    SELECT greatest(clock_timestamp(), after_feed.at) AS locked_at
    -- count(*) needs all locks.
    FROM (SELECT count(*) AS segments FROM locked) AS after_locks
    CROSS JOIN after_feed
)

-- The life may have ended while this waited for the locks.
SELECT
    locked.id,
    $2::bigint AS layer_id,
    timed.locked_at,
    nullif(locked.deleted_at, 'infinity') AS ends_at
FROM timed
CROSS JOIN locked
WHERE locked.slug = $1::text AND locked.deleted_at > timed.locked_at
