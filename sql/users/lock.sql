-- sql/users/lock.sql
-- Locks live segments and then a user, registered if need be, and reads the clock after that.
--
-- $1 user_id bigint
-- $2 slugs   text[]
--
-- Returns: one row: ids bigint[] and slugs text[] of those that are live,
--          locked_at timestamptz
-- Locks:   the slugs, shared, in the order of their buckets (see segments/lock_slug), the segments
--          FOR KEY SHARE in the order of their ids, then the user's row
-- Index:   segment_deleted_at_slug_key, users_pkey
--
-- Each step takes its rows from the one before, which is what makes the order certain. The
-- update that never happens locks a user's row that is there without rewriting it.

WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(slug.bucket)
    FROM (
        SELECT DISTINCT hashtextextended(w.slug, 0) & 255 AS bucket
        FROM unnest($2::text[]) AS w (slug)
        ORDER BY bucket
    ) AS slug
),

locked AS MATERIALIZED (
    SELECT
        s.id,
        s.slug
    FROM (SELECT count(*) AS turns FROM turn) AS done
    CROSS JOIN segment AS s
    WHERE s.slug = ANY($2::text[]) AND s.deleted_at = 'infinity'
    ORDER BY s.id
    FOR KEY SHARE OF s
),

live AS MATERIALIZED (
    SELECT
        coalesce(array_agg(locked.id), '{}') AS ids,
        coalesce(array_agg(locked.slug), '{}') AS slugs
    FROM locked
),

registered AS (
    INSERT INTO users AS u (id, first_seen_at)
    SELECT
        $1::bigint AS id,
        clock_timestamp() AS first_seen_at
    FROM live
    ON CONFLICT (id) DO UPDATE SET first_seen_at = u.first_seen_at WHERE FALSE
    RETURNING u.id
)

SELECT
    live.ids,
    live.slugs,
    clock_timestamp() AS locked_at
FROM (SELECT count(*) AS user_count FROM registered) AS done
CROSS JOIN live
