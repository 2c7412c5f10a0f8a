-- sql/segments/list_steps.sql
-- Lists the steps of a segment's percentage: the one in force now, then those that are planned.
--
-- $1 id bigint
-- $2 at timestamptz, null for now
--
-- Returns: a row each, in the order of their starts: at timestamptz, percent numeric, null where
--          the segment becomes manual, planned boolean; the last one that is not planned is
--          in force
-- Locks:   none
-- Index:   none: the rollouts are few
--
-- The end of the segment is not a step. If the clock has stepped back, what was not planned may
-- begin in its future: it is in force.

WITH ahead AS (
    SELECT
        r.valid_from,
        r.valid_to,
        r.percent,
        r.planned AND r.valid_from > coalesce($2::timestamptz, now()) AS planned
    FROM rollout AS r
    WHERE r.segment_id = $1::bigint AND r.valid_to > coalesce($2::timestamptz, now())
)

SELECT
    a.valid_from AS at,
    a.percent,
    a.planned
FROM ahead AS a
UNION ALL
SELECT
    a.valid_to AS at,
    NULL AS percent,
    a.planned OR a.valid_from <= coalesce($2::timestamptz, now()) AS planned
FROM ahead AS a
WHERE
    a.valid_to < 'infinity'
    AND a.valid_to <> ALL(ARRAY(SELECT n.valid_from FROM ahead AS n))
    AND a.valid_to < (
        SELECT s.deleted_at
        FROM segment AS s
        WHERE s.id = $1::bigint
    )
ORDER BY at
