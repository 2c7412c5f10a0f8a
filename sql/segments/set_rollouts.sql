-- sql/segments/set_rollouts.sql
-- Sets the percentages of a segment from now on: what is planned already is deleted.
-- Needs: segments/lock_slug, segments/lock.
--
-- $1 id       bigint
-- $2 now      timestamptz, read after the segment was locked
-- $3 starts   timestamptz[], increasing, before the end of the segment; the first may be $2, the
--             others are later
-- $4 percents numeric[], one for each start; null: the segment is manual from then on
-- $5 layer_id bigint, null in no layer
-- $6 salt     text, of the points
-- $7 points   text[] of int8multiranges, one for each start
-- $8 actor    text, null without an API key
--
-- Returns: nothing
-- Locks:   the rollout that it closes; the lock of the segment excludes other writers
-- Index:   segment_pkey
--
-- Until the first start, the percentage stays what it is. The last one ends with the segment. A row
-- starts where the one before it ends: this orders the writes, as the exclusion constraint needs,
-- and leaves no gap. A start is after every earlier end, even if the clock has stepped back: only
-- what was planned is a plan.

WITH life AS (
    SELECT s.deleted_at AS ends_at
    FROM segment AS s
    WHERE s.id = $1::bigint
),

cancelled AS (
    DELETE FROM rollout AS r
    WHERE r.segment_id = $1::bigint AND r.planned AND r.valid_from > $2::timestamptz
    RETURNING r.segment_id
),

after_cancel AS (
    SELECT count(*) AS rollouts
    FROM cancelled
),

step AS (
    SELECT
        asked.percent,
        asked.points,
        asked.valid_from,
        lead(asked.valid_from, 1, life.ends_at) OVER (ORDER BY asked.ordinal) AS valid_to
    FROM life
    CROSS JOIN
        unnest($3::timestamptz[], $4::numeric[], $7::text[]) WITH ORDINALITY
            AS asked (valid_from, percent, points, ordinal)
),

-- The rollout in force. MATERIALIZED: as of before the writes.
current_rollout AS MATERIALIZED (
    SELECT
        r.valid_from,
        r.valid_to
    FROM rollout AS r
    WHERE
        r.segment_id = $1::bigint
        AND r.valid_to > $2::timestamptz
        AND NOT (r.planned AND r.valid_from > $2::timestamptz)
    ORDER BY r.valid_to DESC
    LIMIT 1
),

closed AS (
    UPDATE rollout AS r
    SET
        valid_to = greatest(
            first_step.valid_from, current_rollout.valid_from + interval '1 microsecond'
        ),
        closed_by = CASE WHEN first_step.asked > 0 THEN $8::text END
    FROM after_cancel
    CROSS JOIN current_rollout
    CROSS JOIN
        (
            SELECT
                coalesce(min(step.valid_from), (SELECT life.ends_at FROM life)) AS valid_from,
                count(*) AS asked
            FROM step
        ) AS first_step
    WHERE r.segment_id = $1::bigint AND r.valid_to = current_rollout.valid_to
    RETURNING r.valid_to
),

-- The end of the last rollout that is not a plan.
earlier AS (
    SELECT greatest(max(r.valid_to), (SELECT closed.valid_to FROM closed)) AS valid_to
    FROM rollout AS r
    WHERE
        r.segment_id = $1::bigint
        AND r.valid_to < coalesce(
            (SELECT current_rollout.valid_to FROM current_rollout), 'infinity'
        )
        AND NOT (r.planned AND r.valid_from > $2::timestamptz)
)

INSERT INTO rollout (
    segment_id,
    layer_id,
    percent,
    salt,
    points,
    valid_from,
    valid_to,
    planned,
    opened_by,
    closed_by
)
SELECT
    $1::bigint AS segment_id,
    $5::bigint AS layer_id,
    step.percent,
    $6::text AS salt,
    step.points::int8multirange AS points,
    greatest(step.valid_from, earlier.valid_to) AS valid_from,
    step.valid_to,
    step.valid_from > $2::timestamptz AS planned,
    $8::text AS opened_by,
    CASE WHEN step.valid_to < life.ends_at THEN $8::text END AS closed_by
FROM after_cancel
CROSS JOIN earlier
CROSS JOIN life
CROSS JOIN step
WHERE step.percent IS NOT NULL
