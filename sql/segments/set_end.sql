-- sql/segments/set_end.sql
-- Plans the end of a segment, moves it or lifts it; the percentage ends with the segment.
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
)

UPDATE segment AS s
SET
    deleted_at = coalesce($2::timestamptz, 'infinity'),
    deleted_by = CASE WHEN $2::timestamptz IS NOT NULL THEN $3::text END
WHERE s.id = $1::bigint
