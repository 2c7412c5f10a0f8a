-- sql/segments/set_percent.sql
-- Ends the rollout of a segment and begins another, unless it has that percentage already.
-- Needs: segments/lock_slug, segments/lock.
--
-- $1 id      bigint
-- $2 now     timestamptz, read after the segment was locked
-- $3 percent numeric, null to make the segment manual
-- $4 actor   text, null for nobody in particular
--
-- Returns: nothing
-- Locks:   the rollout it ends; the segment's lock keeps others away
-- Index:   none: the rollouts are few
--
-- The new row takes its beginning from the end of the old one, which orders the two writes and
-- leaves no gap. A bound is after the one before it, even if the clock has stepped back.

WITH ended AS (
    UPDATE rollout AS r
    SET
        valid_to = greatest($2::timestamptz, r.valid_from + interval '1 microsecond'),
        closed_by = $4::text
    WHERE
        r.segment_id = $1::bigint
        AND r.valid_to = 'infinity'
        AND r.percent IS DISTINCT FROM $3::numeric
    RETURNING r.valid_to
),

earlier AS (
    SELECT max(r.valid_to) AS valid_to
    FROM rollout AS r
    WHERE r.segment_id = $1::bigint AND r.valid_to < 'infinity'
)

INSERT INTO rollout (segment_id, percent, valid_from, opened_by)
SELECT
    $1::bigint AS segment_id,
    $3::numeric AS percent,
    greatest($2::timestamptz, max(ended.valid_to), max(earlier.valid_to)) AS valid_from,
    $4::text AS opened_by
FROM earlier
LEFT JOIN ended ON TRUE
HAVING
    $3::numeric IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM rollout AS r
        WHERE
            r.segment_id = $1::bigint
            AND r.valid_to = 'infinity'
            AND r.percent = $3::numeric
    )
