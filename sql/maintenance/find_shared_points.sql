-- sql/maintenance/find_shared_points.sql
-- Finds rollouts of a layer that have points of another one in the layer at the same time.
--
-- Returns: a row each: segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT DISTINCT
    r.segment_id,
    r.valid_from AS at
FROM rollout AS r
INNER JOIN rollout AS other
    ON
        r.layer_id = other.layer_id
        AND r.segment_id <> other.segment_id
        AND r.points && other.points
        AND r.valid_from < other.valid_to
        AND r.valid_to > other.valid_from
