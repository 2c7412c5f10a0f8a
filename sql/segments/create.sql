-- sql/segments/create.sql
-- Creates a segment, unless a live one has the slug. Needs: segments/lock_slug.
--
-- $1 slug        text
-- $2 description text
-- $3 percent     numeric, null for a manual segment
-- $4 actor       text, null without an API key
--
-- Returns: one row: slug text, description text, percent numeric, created_at timestamptz;
--          none if the slug is taken
-- Locks:   its own new rows
-- Index:   segment_slug_deleted_at_key
--
-- A life starts after every earlier life of the slug: two lives do not touch. A segment whose end
-- is planned has the slug until then.

-- No write is before what the feed has served, or before its own transaction: events/get_horizon.
WITH after_feed AS MATERIALIZED (
    SELECT greatest(now(), max(f.horizon)) + interval '1 microsecond' AS at
    FROM feed AS f
),

created AS (
    INSERT INTO segment AS s (slug, description, created_at, created_by)
    SELECT
        $1::text AS slug,
        $2::text AS description,
        greatest(
            clock_timestamp(),
            after_feed.at,
            (
                SELECT max(ended.deleted_at) + interval '1 microsecond'
                FROM segment AS ended
                WHERE ended.slug = $1::text
            )
        ) AS created_at,
        $4::text AS created_by
    FROM after_feed
    WHERE
        NOT EXISTS (
            SELECT FROM segment AS live
            WHERE live.slug = $1::text AND live.deleted_at > clock_timestamp()
        )
    RETURNING s.id, s.slug, s.description, s.created_at
),

opened AS (
    INSERT INTO rollout (segment_id, percent, salt, points, valid_from, opened_by)
    SELECT
        created.id AS segment_id,
        $3::numeric AS percent,
        created.slug AS salt,
        rollout_points($3::numeric) AS points,
        created.created_at AS valid_from,
        $4::text AS opened_by
    FROM created
    WHERE $3::numeric IS NOT NULL
)

SELECT
    created.slug,
    created.description,
    $3::numeric AS percent,
    created.created_at
FROM created
