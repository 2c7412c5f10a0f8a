-- sql/users/change.sql
-- Adds a user to segments and removes the user from others. Needs: users/lock.
--
-- $1 user_id bigint
-- $2 now     timestamptz, read after the user was locked
-- $3 add     bigint[], ids of locked segments
-- $4 until   timestamptz[], the end for each of them, after $2; null for no end
-- $5 remove  bigint[], ids of locked segments, none of them in $3
-- $6 actor   text, null without an API key
--
-- Returns: a row for each segment changed: segment_id bigint, included boolean
-- Locks:   the periods that it closes or extends; the lock of the user excludes other writers
-- Index:   membership_pkey
--
-- request                    | no current period | included               | excluded
-- add                        | open included     | move the end           | close, open included
-- remove, automatic segment  | open excluded     | close, open excluded   | nothing
-- remove, manual segment     | nothing           | close, open excluded   | nothing
--
-- A removal holds at any later percentage, so it opens an excluded period in a manual segment too,
-- if the user is in.
--
-- The current period is the latest one that has not ended. A period ends after its start, and
-- starts after the period before it, even if the clock has stepped back. The key that sets an end
-- in advance is the one that closed the period.
--
-- members/change is the same for the users of a file. One statement over arrays for both was
-- slower: 0.93 ms instead of 0.35 for a user and two segments, 11.7 s instead of 8.8 for a file of
-- a million, whose ids would be in the memory of the service too (PostgreSQL 18, interleaved).

WITH requested AS (
    SELECT
        a.segment_id,
        TRUE AS included,
        coalesce(a.valid_to, 'infinity') AS valid_to
    FROM unnest($3::bigint[], $4::timestamptz[]) AS a (segment_id, valid_to)
    UNION ALL
    SELECT
        r.segment_id,
        FALSE AS included,
        'infinity' AS valid_to
    FROM unnest($5::bigint[]) AS r (segment_id)
),

current_period AS (
    SELECT DISTINCT ON (requested.segment_id)
        requested.segment_id,
        requested.included,
        requested.valid_to,
        m.included AS was_included,
        m.valid_to AS old_valid_to,
        greatest($2::timestamptz, m.valid_from + interval '1 microsecond') AS change_at,
        requested.included OR m.included IS NOT NULL OR EXISTS (
            SELECT FROM rollout AS r
            WHERE r.segment_id = requested.segment_id AND r.valid_to = 'infinity'
        ) AS opens
    FROM requested
    LEFT JOIN membership AS m
        ON
            m.user_id = $1::bigint
            AND requested.segment_id = m.segment_id
            AND m.valid_to > $2::timestamptz
    ORDER BY requested.segment_id ASC, m.valid_to DESC
),

-- MATERIALIZED: read three times below, and always as of before the writes.
changed AS MATERIALIZED (
    SELECT
        c.segment_id,
        c.included,
        c.old_valid_to,
        c.change_at,
        c.opens,
        greatest(c.valid_to, c.change_at + interval '1 microsecond') AS valid_to,
        c.included AND coalesce(c.was_included, FALSE) AS moves_end
    FROM current_period AS c
    WHERE
        CASE
            WHEN c.was_included IS NULL THEN c.opens
            WHEN c.included AND c.was_included THEN c.valid_to <> c.old_valid_to
            ELSE c.included <> c.was_included
        END
),

closed AS (
    UPDATE membership AS m
    SET
        valid_to = CASE WHEN changed.moves_end THEN changed.valid_to ELSE changed.change_at END,
        removed = NOT changed.included,
        closed_by = CASE
            WHEN NOT changed.moves_end OR changed.valid_to < 'infinity' THEN $6::text
        END
    FROM changed
    WHERE
        m.user_id = $1::bigint
        AND m.segment_id = changed.segment_id
        AND m.valid_to = changed.old_valid_to
    RETURNING m.segment_id
),

opened AS (
    INSERT INTO membership (
        user_id, segment_id, included, valid_from, valid_to, opened_by, closed_by
    )
    SELECT
        $1::bigint AS user_id,
        changed.segment_id,
        changed.included,
        changed.change_at AS valid_from,
        changed.valid_to,
        $6::text AS opened_by,
        CASE WHEN changed.valid_to < 'infinity' THEN $6::text END AS closed_by
    -- count(*) makes the insert wait for the updates: the primary key allows no two periods of a
    -- user and a segment that end together, not even at infinity.
    FROM (SELECT count(*) AS periods FROM closed) AS after_close
    CROSS JOIN changed
    WHERE changed.opens AND NOT changed.moves_end
)

SELECT
    changed.segment_id,
    changed.included
FROM changed
