-- sql/segments/lock_layer.sql
-- Locks the layer that a live segment is in, for a change of its points.
-- Needs: segments/lock_slug, or layers/lock_slugs.
--
-- $1 slug text
--
-- Returns: one row: id bigint, salt text, changed_at timestamptz, the latest start of a
--          percentage in it that was not planned, null without one; none if the segment is in no
--          layer
-- Locks:   the layer FOR UPDATE
-- Index:   segment_slug_deleted_at_key
--
-- While the slug is locked, the segment neither enters a layer nor leaves one.

SELECT
    layer.id,
    layer.salt,
    (
        SELECT max(r.valid_from)
        FROM rollout AS r
        WHERE r.layer_id = layer.id AND NOT r.planned
    ) AS changed_at
FROM segment AS s
INNER JOIN layer_segment AS l ON s.id = l.segment_id AND l.valid_to > clock_timestamp()
INNER JOIN layer ON l.layer_id = layer.id
WHERE s.slug = $1::text AND s.deleted_at > clock_timestamp()
FOR UPDATE OF layer
