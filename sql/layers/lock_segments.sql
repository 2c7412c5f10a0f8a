-- sql/layers/lock_segments.sql
-- Locks live segments for a change of their layer, then reads the clock.
-- Needs: layers/lock_slugs, layers/lock.
--
-- $1 slugs text[]
--
-- Returns: a row for each segment that is live at locked_at: id bigint, slug text,
--          ends_at timestamptz, null without an end, layer_id bigint and layer text, null in no
--          layer, locked_at timestamptz
-- Locks:   the segments FOR UPDATE, in the order of their ids
-- Index:   segment_slug_deleted_at_key

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
    WHERE s.slug = ANY($1::text[]) AND s.deleted_at > clock_timestamp()
    ORDER BY s.id
    FOR UPDATE
),

timed AS MATERIALIZED (
    SELECT greatest(clock_timestamp(), after_feed.at) AS locked_at
    -- count(*) needs all locks.
    FROM (SELECT count(*) AS segments FROM locked) AS after_locks
    CROSS JOIN after_feed
)

SELECT
    locked.id,
    locked.slug,
    layer.id AS layer_id,
    layer.slug AS layer,
    timed.locked_at,
    nullif(locked.deleted_at, 'infinity') AS ends_at
FROM timed
CROSS JOIN locked
LEFT JOIN layer_segment AS l ON locked.id = l.segment_id AND timed.locked_at < l.valid_to
LEFT JOIN layer ON l.layer_id = layer.id
WHERE locked.deleted_at > timed.locked_at
