-- sql/maintenance/find_wrong_points.sql
-- Finds rollouts whose points are not as many as their percentage says.
--
-- Returns: a row each: segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    r.segment_id,
    r.valid_from AS at
FROM rollout AS r
WHERE
    coalesce(
        (
            SELECT sum(upper(part.points) - lower(part.points))
            FROM unnest(r.points) AS part (points)
        ),
        0
    ) <> floor(r.percent * 4294967296 / 100)
