-- sql/segments/set_end.sql
-- Plans the end of a segment, moves or lifts it; its percentage and its time in a layer end then.
-- Needs: segments/lock_slug, segments/lock.
--
-- $1 id      bigint
-- $2 ends_at timestamptz, in the future and after every step of the percentage; null for no end
-- $3 actor   text, null without an API key
--
-- Returns: nothing
-- Locks:   these rows; the lock of the segment excludes other writers
-- Index:   segment_pkey

WITH moved AS (
    UPDATE rollout AS r
    SET valid_to = coalesce($2::timestamptz, 'infinity')
    FROM segment AS s
    WHERE s.id = $1::bigint AND r.segment_id = s.id AND r.valid_to = s.deleted_at
),

moved_in_layer AS (
    UPDATE layer_segment AS l
    SET
        valid_to = coalesce($2::timestamptz, 'infinity'),
        closed_by = CASE WHEN $2::timestamptz IS NOT NULL THEN $3::text END
    FROM segment AS s
    WHERE s.id = $1::bigint AND l.segment_id = s.id AND l.valid_to = s.deleted_at
)

UPDATE segment AS s
SET
    deleted_at = coalesce($2::timestamptz, 'infinity'),
    deleted_by = CASE WHEN $2::timestamptz IS NOT NULL THEN $3::text END
WHERE s.id = $1::bigint
