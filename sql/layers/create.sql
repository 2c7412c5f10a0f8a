-- sql/layers/create.sql
-- Creates a layer, unless a live one has the slug. Needs: layers/lock_slug, layers/lock_segments.
--
-- $1 slug  text
-- $2 salt  text
-- $3 now   timestamptz, read after the segments were locked
-- $4 actor text, null without an API key
--
-- Returns: one row: id bigint; none if the slug is taken
-- Locks:   its own new row
-- Index:   none: the layers are few

INSERT INTO layer AS l (slug, salt, created_at, created_by)
SELECT
    $1::text AS slug,
    $2::text AS salt,
    greatest(
        $3::timestamptz,
        (
            SELECT max(ended.deleted_at) + interval '1 microsecond'
            FROM layer AS ended
            WHERE ended.slug = $1::text
        )
    ) AS created_at,
    $4::text AS created_by
WHERE
    NOT EXISTS (
        SELECT FROM layer AS live
        WHERE live.slug = $1::text AND live.deleted_at = 'infinity'
    )
RETURNING l.id
