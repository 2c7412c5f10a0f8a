-- sql/segments/set_percent.sql
-- Closes the rollout of a segment and opens another, unless it has that percentage already.
-- Needs: segments/lock_slug, segments/lock.
--
-- $1 id      bigint
-- $2 now     timestamptz, read after the segment was locked
-- $3 percent numeric, null to make the segment manual
-- $4 actor   text, null without an API key
--
-- Returns: nothing
-- Locks:   the rollout that it closes; the lock of the segment excludes other writers
-- Index:   segment_pkey
--
-- The new row starts where the old one ends: this orders the two writes, as the exclusion
-- constraint needs, and leaves no gap. A start is after every earlier end, even if the clock has
-- stepped back.

WITH closed AS (
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

INSERT INTO rollout (segment_id, percent, salt, points, valid_from, opened_by)
SELECT
    s.id AS segment_id,
    $3::numeric AS percent,
    s.slug AS salt,
    rollout_points($3::numeric) AS points,
    greatest($2::timestamptz, closed.valid_to, earlier.valid_to) AS valid_from,
    $4::text AS opened_by
FROM segment AS s
CROSS JOIN earlier
LEFT JOIN closed ON TRUE
WHERE
    s.id = $1::bigint
    AND $3::numeric IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM rollout AS r
        WHERE
            r.segment_id = $1::bigint
            AND r.valid_to = 'infinity'
            AND r.percent = $3::numeric
    )
