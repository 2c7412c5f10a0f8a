-- sql/users/lock.sql
-- Locks live segments, then a user, who is registered if necessary, then reads the clock.
--
-- $1 user_id bigint
-- $2 slugs   text[]
--
-- Returns: one row: ids bigint[] and slugs text[] of the live segments,
--          locked_at timestamptz
-- Locks:   the slugs, shared, in the order of their buckets (see segments/lock_slug), the segments
--          FOR KEY SHARE in the order of their ids, then the row of the user
-- Index:   segment_deleted_at_slug_key, users_pkey
--
-- Each step reads from the step before it, which fixes the order of the locks.

-- MATERIALIZED: evaluated once and as a whole, before the next step.
WITH slug_locks AS MATERIALIZED (
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
        s.slug
    -- count(*) needs all slug locks.
    FROM (SELECT count(*) AS slug_locks FROM slug_locks) AS after_slug_locks
    CROSS JOIN segment AS s
    WHERE s.slug = ANY($2::text[]) AND s.deleted_at = 'infinity'
    ORDER BY s.id
    FOR KEY SHARE OF s
),

live AS MATERIALIZED (
    SELECT
        coalesce(array_agg(locked_segments.id), '{}') AS ids,
        coalesce(array_agg(locked_segments.slug), '{}') AS slugs
    FROM locked_segments
),

locked_user AS (
    INSERT INTO users AS u (id, first_seen_at)
    SELECT
        $1::bigint AS id,
        clock_timestamp() AS first_seen_at
    FROM live
    -- An update that never happens: it locks the row of a known user without rewriting it.
    ON CONFLICT (id) DO UPDATE SET first_seen_at = u.first_seen_at WHERE FALSE
    RETURNING u.id
)

SELECT
    live.ids,
    live.slugs,
    clock_timestamp() AS locked_at
-- count(*) needs the lock of the user, so the clock is read after it.
FROM (SELECT count(*) AS users FROM locked_user) AS after_user_lock
CROSS JOIN live
