-- sql/users/lock.sql
-- Locks live segments, then users, who are registered if necessary, then reads the clock.
--
-- $1 user_ids bigint[]
-- $2 slugs    text[]
--
-- Returns: one row: ids bigint[], slugs text[], ends timestamptz[] and layers bigint[] of the
--          segments that are live at locked_at, null without an end and outside layers;
--          registered bigint[], the users who were not known; locked_at timestamptz
-- Locks:   the slugs, shared, in the order of their buckets (see segments/lock_slug), the segments
--          FOR SHARE in the order of their ids, then the rows of the users in the order of theirs
-- Index:   segment_slug_deleted_at_key, users_pkey
--
-- Each step reads from the step before it, which fixes the order of the locks. The clock is read
-- last: a life may end while this waits. A file locks its segment so that FOR SHARE waits for it
-- (members/lock_segment), and needs no locks of users.

-- No write is before what the feed has served, or before its own transaction: events/get_horizon.
WITH after_feed AS MATERIALIZED (
    SELECT greatest(now(), max(f.horizon)) + interval '1 microsecond' AS at
    FROM feed AS f
),

-- MATERIALIZED: evaluated once and as a whole, before the next step.
slug_locks AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(1936026483, slug.bucket)
    FROM (
        SELECT DISTINCT (hashtextextended(asked.slug, 0) & 255)::integer AS bucket
        FROM unnest($2::text[]) AS asked (slug)
        ORDER BY bucket
    ) AS slug
),

locked_segments AS MATERIALIZED (
    SELECT
        s.id,
        s.slug,
        s.deleted_at
    -- count(*) needs all slug locks.
    FROM (SELECT count(*) AS slug_locks FROM slug_locks) AS after_slug_locks
    CROSS JOIN segment AS s
    WHERE s.slug = ANY($2::text[]) AND s.deleted_at > now()
    ORDER BY s.id
    FOR SHARE OF s
),

registered AS (
    INSERT INTO users AS u (id, first_seen_at)
    SELECT
        asked.id,
        greatest(clock_timestamp(), after_feed.at) AS first_seen_at
    FROM (SELECT count(*) AS segments FROM locked_segments) AS after_segment_locks
    CROSS JOIN after_feed
    CROSS JOIN unnest($1::bigint[]) AS asked (id)
    ORDER BY asked.id
    -- An update that never happens: it locks the row of a known user without rewriting it.
    ON CONFLICT (id) DO UPDATE SET first_seen_at = u.first_seen_at WHERE FALSE
    RETURNING u.id
),

timed AS MATERIALIZED (
    SELECT
        after_user_locks.ids AS registered,
        greatest(clock_timestamp(), after_feed.at) AS locked_at
    -- An aggregate needs the locks of all users.
    FROM (SELECT array_agg(registered.id) AS ids FROM registered) AS after_user_locks
    CROSS JOIN after_feed
),

live AS (
    SELECT
        s.id,
        s.slug,
        l.layer_id,
        nullif(s.deleted_at, 'infinity') AS ends_at
    FROM timed
    CROSS JOIN locked_segments AS s
    LEFT JOIN layer_segment AS l ON s.id = l.segment_id AND timed.locked_at < l.valid_to
    WHERE s.deleted_at > timed.locked_at
)

SELECT
    coalesce(array_agg(live.id), '{}') AS ids,
    coalesce(array_agg(live.slug), '{}') AS slugs,
    coalesce(array_agg(live.ends_at), '{}') AS ends,
    coalesce(array_agg(live.layer_id), '{}') AS layers,
    (SELECT coalesce(timed.registered, '{}') FROM timed) AS registered,
    (SELECT timed.locked_at FROM timed) AS locked_at
FROM live
