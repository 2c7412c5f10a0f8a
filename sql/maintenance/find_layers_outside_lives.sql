-- sql/maintenance/find_layers_outside_lives.sql
-- Finds times of segments in layers that are not inside the lives of both.
--
-- Returns: a row each: segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    l.segment_id,
    l.valid_from AS at
FROM layer_segment AS l
INNER JOIN segment AS s ON l.segment_id = s.id
INNER JOIN layer ON l.layer_id = layer.id
WHERE
    l.valid_from < greatest(s.created_at, layer.created_at)
    OR l.valid_to > least(s.deleted_at, layer.deleted_at)
