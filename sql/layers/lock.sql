-- sql/layers/lock.sql
-- Locks a live layer for a change. Needs: layers/lock_slug, layers/lock_slugs.
--
-- $1 slug text
--
-- Returns: one row: id bigint, salt text, changed_at timestamptz, the latest start of a
--          percentage in it that was not planned, null without one; or none
-- Locks:   the layer FOR UPDATE
-- Index:   none: the layers are few

SELECT
    l.id,
    l.salt,
    (
        SELECT max(r.valid_from)
        FROM rollout AS r
        WHERE r.layer_id = l.id AND NOT r.planned
    ) AS changed_at
FROM layer AS l
WHERE l.slug = $1::text AND l.deleted_at = 'infinity'
FOR UPDATE
