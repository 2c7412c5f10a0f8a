-- sql/users/change.sql
-- Adds a user to segments and removes the user from others. Needs: users/lock.
--
-- $1 user_id bigint
-- $2 now     timestamptz, read after the user was locked
-- $3 add     bigint[], ids of locked segments
-- $4 since   timestamptz[], the start for each of them, after $2; null for now
-- $5 until   timestamptz[], the end for each of them, after the start; null for no end
-- $6 remove  bigint[], ids of locked segments, none of them in $3
-- $7 actor   text, null without an API key
--
-- Returns: a row for each segment changed: segment_id bigint, included boolean
-- Locks:   the periods that it closes, moves or deletes; the lock of the user excludes other
--          writers
-- Index:   membership_pkey
--
-- A request says what holds from its start on: now, or the start of what is added. Plans that begin
-- later are deleted. What it does to the period that covers the start:
--
-- request                    | no such period    | included               | excluded
-- add                        | open included     | move the end           | close, open included
-- add, where it is suspended | open included     | close, open included   | close, open included
-- remove, automatic segment  | open excluded     | close, open excluded   | move the end
-- remove, manual segment     | nothing           | close, open excluded   | move the end
--
-- A removal holds at any later percentage, so it opens an excluded period in a manual segment too,
-- if the user is in. An excluded period has an end only where a plan to add follows: a removal that
-- deletes the plan lifts that end.
--
-- The period that covers the start is the latest one that has not ended then. A period ends after
-- its start, and starts after the period before it, even if the clock has stepped back: only what
-- was planned is a plan. The key that sets an end in advance is the one that closed the period.
--
-- members/change is the same for the users of a file. One statement over arrays for both was
-- slower: 0.93 ms instead of 0.35 for a user and two segments, 11.7 s instead of 8.8 for a file of
-- a million, whose ids would be in the memory of the service too (PostgreSQL 18, interleaved).

WITH requested AS (
    SELECT
        a.segment_id,
        TRUE AS included,
        coalesce(a.valid_from, $2::timestamptz) AS valid_from,
        coalesce(a.valid_to, 'infinity') AS valid_to,
        NULL AS automatic -- an addition does not depend on it
    FROM
        unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[])
            AS a (segment_id, valid_from, valid_to)
    UNION ALL
    SELECT
        r.segment_id,
        FALSE AS included,
        $2::timestamptz AS valid_from,
        'infinity' AS valid_to,
        exists(
            SELECT FROM rollout AS rollout_now
            WHERE
                rollout_now.segment_id = r.segment_id
                AND rollout_now.valid_to > $2::timestamptz
                AND rollout_now.valid_from <= $2::timestamptz
        ) AS automatic
    FROM unnest($6::bigint[]) AS r (segment_id)
),

-- What a request meets: the period that covers its start, and the plans that begin later.
-- MATERIALIZED: read twice below, and always as of before the writes.
met AS MATERIALIZED (
    SELECT
        requested.segment_id,
        requested.included,
        requested.valid_from,
        requested.valid_to,
        requested.automatic,
        m.included AS was_included,
        m.valid_from AS old_valid_from,
        m.valid_to AS old_valid_to,
        coalesce(
            m.planned AND m.valid_from > $2::timestamptz AND m.valid_from >= requested.valid_from,
            FALSE
        ) AS is_plan
    FROM requested
    LEFT JOIN membership AS m
        ON
            m.user_id = $1::bigint
            AND requested.segment_id = m.segment_id
            AND requested.valid_from < m.valid_to
),

current_period AS (
    SELECT
        met.segment_id,
        met.included,
        met.valid_from,
        met.valid_to,
        met.automatic,
        (
            array_agg(met.was_included ORDER BY met.old_valid_to DESC) FILTER (
                WHERE NOT met.is_plan
            )
        )[1] AS was_included,
        max(met.old_valid_to) FILTER (WHERE NOT met.is_plan) AS old_valid_to,
        greatest(
            met.valid_from,
            max(met.old_valid_from) FILTER (WHERE NOT met.is_plan) + interval '1 microsecond'
        ) AS change_at,
        -- A new period begins after the one elsewhere in the layer, so that it is in force.
        coalesce(
            bool_or(
                met.included
                AND met.was_included
                AND NOT met.is_plan
                AND EXISTS (
                    SELECT FROM elsewhere AS e
                    WHERE
                        e.user_id = $1::bigint
                        AND e.segment_id = met.segment_id
                        AND e.valid_from <= met.valid_from
                        AND e.valid_to > met.valid_from
                        AND (e.began_at, e.by_segment_id) > (met.old_valid_from, met.segment_id)
                )
            ),
            FALSE
        ) AS suspended,
        count(*) FILTER (WHERE met.is_plan) AS plans,
        count(*) FILTER (
            WHERE
            met.is_plan
            AND met.old_valid_from = met.valid_from
            AND met.old_valid_to = met.valid_to
        ) AS same_plans
    FROM met
    GROUP BY met.segment_id, met.included, met.valid_from, met.valid_to, met.automatic
),

-- MATERIALIZED: read three times below, and always as of before the writes.
changed AS MATERIALIZED (
    SELECT
        c.segment_id,
        c.included,
        c.was_included,
        c.old_valid_to,
        c.change_at,
        c.valid_from > $2::timestamptz AS planned,
        greatest(c.valid_to, c.change_at + interval '1 microsecond') AS valid_to,
        coalesce(c.included = c.was_included, FALSE) AND NOT c.suspended AS moves_end,
        c.included OR c.was_included IS NOT NULL OR c.automatic AS opens
    FROM current_period AS c
    WHERE
        CASE
            WHEN c.included = c.was_included
                THEN c.valid_to <> c.old_valid_to OR c.plans > 0 OR c.suspended
            WHEN c.was_included IS NOT NULL THEN TRUE
            WHEN c.included THEN c.plans <> 1 OR c.same_plans <> 1
            ELSE c.plans > 0 OR c.automatic
        END
),

-- What is written below waits for what is written above, by count(*): the primary key allows no two
-- periods of a user and a segment that end together, not even at infinity.
cancelled AS (
    DELETE FROM membership AS m
    USING met
    INNER JOIN changed ON met.segment_id = changed.segment_id
    WHERE
        met.is_plan
        AND m.user_id = $1::bigint
        AND m.segment_id = met.segment_id
        AND m.valid_to = met.old_valid_to
    RETURNING m.segment_id
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
            WHEN NOT changed.moves_end OR changed.valid_to < 'infinity' THEN $7::text
        END
    FROM after_cancel
    CROSS JOIN changed
    WHERE
        m.user_id = $1::bigint
        AND m.segment_id = changed.segment_id
        AND m.valid_to = changed.old_valid_to
        AND changed.was_included IS NOT NULL
    RETURNING m.segment_id
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
        $1::bigint AS user_id,
        changed.segment_id,
        changed.included,
        changed.change_at AS valid_from,
        changed.valid_to,
        changed.planned,
        $7::text AS opened_by,
        CASE WHEN changed.valid_to < 'infinity' THEN $7::text END AS closed_by
    FROM after_cancel
    CROSS JOIN after_close
    CROSS JOIN changed
    WHERE changed.opens AND NOT changed.moves_end
)

SELECT
    changed.segment_id,
    changed.included
FROM changed
