-- sql/maintenance/find_rollouts_outside_segments.sql
-- Finds rollouts that are not inside the life of their segment.
--
-- Returns: a row each: segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    r.segment_id,
    r.valid_from AS at
FROM rollout AS r
INNER JOIN segment AS s ON r.segment_id = s.id
WHERE r.valid_from < s.created_at OR r.valid_to > s.deleted_at
