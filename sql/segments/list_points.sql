-- sql/segments/list_points.sql
-- Lists which points of a layer its segments have and will have, and which one of them had.
-- Needs: segments/lock_layer.
--
-- $1 layer_id   bigint
-- $2 segment_id bigint, the segment whose past is listed too
-- $3 now        timestamptz, read after the segment was locked
--
-- Returns: a row each, the latest end first: segment_id bigint, points int8multirange,
--          valid_from timestamptz, valid_to timestamptz, null without an end, planned boolean
-- Locks:   none; the lock of the layer excludes other writers
-- Index:   none: the rollouts are few

SELECT
    r.segment_id,
    r.points,
    r.valid_from,
    nullif(r.valid_to, 'infinity') AS valid_to,
    r.planned AND r.valid_from > $3::timestamptz AS planned
FROM rollout AS r
WHERE
    r.layer_id = $1::bigint AND (r.segment_id = $2::bigint OR r.valid_to > $3::timestamptz)
ORDER BY r.valid_to DESC
