-- sql/members/change.sql
-- Adds staged users to a segment, or removes them from it, and removes who is not in their list.
-- Needs: members/analyze_staged, members/stage_unlisted, members/lock_segment.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the segment was locked
-- $3 included   boolean, true to add and false to remove the users in `staged`
-- $4 since      timestamptz, the start of what is added, after $2; null for now
-- $5 until      timestamptz, the end of what is added, after the start; null for no end
-- $6 actor      text, null without an API key
-- $7 dry_run    boolean, true to change nothing; then no lock is needed either
--
-- Returns: one row: added bigint and removed bigint, the users for whom something changed
-- Locks:   the periods that it closes, moves or deletes; the lock of the segment excludes other
--          writers
-- Index:   membership_segment_id_user_id_idx
--
-- The table in users/change says what a request does. The ids are in the temporary table `staged`;
-- those in `unlisted` are removed, from now on. The rows are inserted in the order of the user ids:
-- in another order, a million rows take more than twice the time. The header of users/change says
-- why this is a separate statement.

WITH requested AS (
    SELECT
        coalesce($4::timestamptz, $2::timestamptz) AS valid_from,
        exists(
            SELECT FROM rollout AS r
            WHERE
                r.segment_id = $1::bigint
                AND r.valid_to > $2::timestamptz
                AND r.valid_from <= $2::timestamptz
        ) AS automatic,
        exists(
            SELECT FROM layer_segment AS l
            WHERE l.segment_id = $1::bigint AND l.valid_to > $2::timestamptz
        ) AS in_layer
),

-- MATERIALIZED: read twice below, and always as of before the writes.
met AS MATERIALIZED (
    SELECT
        asked.user_id,
        asked.included,
        requested.valid_from,
        m.included AS was_included,
        m.valid_from AS old_valid_from,
        m.valid_to AS old_valid_to,
        coalesce(
            m.planned AND m.valid_from > $2::timestamptz AND m.valid_from >= requested.valid_from,
            FALSE
        ) AS is_plan
    FROM (
        SELECT DISTINCT
            staged.user_id,
            $3::boolean AS included
        FROM staged
        UNION ALL
        SELECT
            unlisted.user_id,
            FALSE AS included
        FROM unlisted
    ) AS asked
    CROSS JOIN requested
    LEFT JOIN membership AS m
        ON
            m.segment_id = $1::bigint
            AND asked.user_id = m.user_id
            AND m.valid_to > coalesce($4::timestamptz, $2::timestamptz)
),

current_period AS (
    SELECT
        met.user_id,
        met.included,
        CASE
            WHEN met.included THEN coalesce($5::timestamptz, 'infinity') ELSE 'infinity'
        END AS until,
        (
            array_agg(met.was_included ORDER BY met.old_valid_to DESC)
            FILTER (WHERE NOT met.is_plan)
        )[1] AS was_included,
        max(met.old_valid_to) FILTER (WHERE NOT met.is_plan) AS old_valid_to,
        greatest(
            met.valid_from,
            max(met.old_valid_from) FILTER (WHERE NOT met.is_plan) + interval '1 microsecond'
        ) AS change_at,
        coalesce(
            bool_or(
                met.included
                AND met.was_included
                AND NOT met.is_plan
                AND requested.in_layer
                AND EXISTS (
                    SELECT FROM elsewhere AS e
                    WHERE
                        e.user_id = met.user_id
                        AND e.segment_id = $1::bigint
                        AND e.valid_from <= met.valid_from
                        AND e.valid_to > met.valid_from
                        AND (e.began_at, e.by_segment_id) > (met.old_valid_from, $1::bigint)
                )
            ),
            FALSE
        ) AS suspended,
        count(*) FILTER (WHERE met.is_plan) AS plans,
        count(*) FILTER (
            WHERE
            met.is_plan
            AND met.old_valid_from = met.valid_from
            AND met.old_valid_to = coalesce($5::timestamptz, 'infinity')
        ) AS same_plans
    FROM met
    CROSS JOIN requested
    GROUP BY met.user_id, met.included, met.valid_from
),

-- MATERIALIZED: read three times below, and always as of before the writes.
changed AS MATERIALIZED (
    SELECT
        c.user_id,
        c.included,
        c.was_included,
        c.old_valid_to,
        c.change_at,
        greatest(c.until, c.change_at + interval '1 microsecond') AS valid_to,
        coalesce(c.included = c.was_included, FALSE) AND NOT c.suspended AS moves_end,
        c.included OR c.was_included IS NOT NULL OR requested.automatic AS opens
    FROM current_period AS c
    CROSS JOIN requested
    WHERE
        CASE
            WHEN c.included = c.was_included
                THEN c.until <> c.old_valid_to OR c.plans > 0 OR c.suspended
            WHEN c.was_included IS NOT NULL THEN TRUE
            WHEN c.included THEN c.plans <> 1 OR c.same_plans <> 1
            ELSE c.plans > 0 OR requested.automatic
        END
),

-- What is written below waits for what is written above, by count(*), as in users/change.
cancelled AS (
    DELETE FROM membership AS m
    USING met
    INNER JOIN changed ON met.user_id = changed.user_id
    WHERE
        NOT $7::boolean
        AND met.is_plan
        AND m.segment_id = $1::bigint
        AND m.user_id = met.user_id
        AND m.valid_to = met.old_valid_to
    RETURNING m.user_id
),

after_cancel AS (
    SELECT count(*) AS periods
    FROM cancelled
),

closed AS (
    UPDATE membership AS m
    SET
        valid_to = CASE WHEN changed.moves_end THEN changed.valid_to ELSE changed.change_at END,
        removed = NOT changed.included AND NOT changed.moves_end,
        moved = FALSE,
        closed_by = CASE
            WHEN NOT changed.moves_end OR changed.valid_to < 'infinity' THEN $6::text
        END
    FROM after_cancel
    CROSS JOIN changed
    WHERE
        NOT $7::boolean
        AND m.user_id = changed.user_id
        AND m.segment_id = $1::bigint
        AND m.valid_to = changed.old_valid_to
        AND changed.was_included IS NOT NULL
    RETURNING m.user_id
),

after_close AS (
    SELECT count(*) AS periods
    FROM closed
),

opened AS (
    INSERT INTO membership (
        user_id, segment_id, included, valid_from, valid_to, planned, opened_by, closed_by
    )
    SELECT
        changed.user_id,
        $1::bigint AS segment_id,
        changed.included,
        changed.change_at AS valid_from,
        changed.valid_to,
        $4::timestamptz IS NOT NULL AS planned,
        $6::text AS opened_by,
        CASE WHEN changed.valid_to < 'infinity' THEN $6::text END AS closed_by
    FROM after_cancel
    CROSS JOIN after_close
    CROSS JOIN changed
    WHERE NOT $7::boolean AND changed.opens AND NOT changed.moves_end
    ORDER BY changed.user_id
)

SELECT
    count(*) FILTER (WHERE changed.included) AS added,
    count(*) FILTER (WHERE NOT changed.included) AS removed
FROM changed
