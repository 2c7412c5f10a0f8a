-- sql/users/change.sql
-- Puts a user into segments and takes the user out of others. Needs: users/lock.
--
-- $1 user_id bigint
-- $2 now     timestamptz, read after the user was locked
-- $3 add     bigint[], ids of locked segments
-- $4 until   timestamptz[], the end for each of them, after $2; null for none
-- $5 remove  bigint[], ids of locked segments, none of them in $3
-- $6 actor   text, null for nobody in particular
--
-- Returns: a row for each segment changed: segment_id bigint, included boolean
-- Locks:   the periods it ends or moves the end of; the user's lock keeps others away
-- Index:   membership_pkey
--
-- What each wish meets       | nothing             | included            | excluded
-- add                        | begin included      | move the end        | end, begin included
-- remove, automatic segment  | begin excluded      | end, begin excluded | -
-- remove, manual segment     | -                   | end                 | -
--
-- A period ends after its beginning and begins after the one before it, even if the clock has
-- stepped back; the latest period that has not ended is the one met. Ends are written before
-- beginnings, because no two periods of a user and a segment may end together, at infinity too.
-- Whoever sets an end in advance is who closed the period.

WITH wanted AS (
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

met AS (
    SELECT DISTINCT ON (wanted.segment_id)
        wanted.segment_id,
        wanted.included,
        wanted.valid_to,
        m.included AS was_included,
        m.valid_to AS old_valid_to,
        greatest($2::timestamptz, m.valid_from + interval '1 microsecond') AS bound,
        wanted.included OR EXISTS (
            SELECT FROM rollout AS r
            WHERE r.segment_id = wanted.segment_id AND r.valid_to = 'infinity'
        ) AS begins
    FROM wanted
    LEFT JOIN membership AS m
        ON
            m.user_id = $1::bigint
            AND wanted.segment_id = m.segment_id
            AND m.valid_to > $2::timestamptz
    ORDER BY wanted.segment_id ASC, m.valid_to DESC
),

changed AS MATERIALIZED (
    SELECT
        met.segment_id,
        met.included,
        met.old_valid_to,
        met.bound,
        met.begins,
        greatest(met.valid_to, met.bound + interval '1 microsecond') AS valid_to,
        met.included AND coalesce(met.was_included, FALSE) AS moves
    FROM met
    WHERE
        CASE
            WHEN met.was_included IS NULL THEN met.begins
            WHEN met.included AND met.was_included THEN met.valid_to <> met.old_valid_to
            ELSE met.included <> met.was_included
        END
),

ended AS (
    UPDATE membership AS m
    SET
        valid_to = CASE WHEN changed.moves THEN changed.valid_to ELSE changed.bound END,
        removed = NOT changed.included,
        closed_by = CASE
            WHEN NOT changed.moves OR changed.valid_to < 'infinity' THEN $6::text
        END
    FROM changed
    WHERE
        m.user_id = $1::bigint
        AND m.segment_id = changed.segment_id
        AND m.valid_to = changed.old_valid_to
    RETURNING m.segment_id
),

begun AS (
    INSERT INTO membership (
        user_id, segment_id, included, valid_from, valid_to, opened_by, closed_by
    )
    SELECT
        $1::bigint AS user_id,
        changed.segment_id,
        changed.included,
        changed.bound AS valid_from,
        changed.valid_to,
        $6::text AS opened_by,
        CASE WHEN changed.valid_to < 'infinity' THEN $6::text END AS closed_by
    FROM (SELECT count(*) AS ends FROM ended) AS done
    CROSS JOIN changed
    WHERE changed.begins AND NOT changed.moves
)

SELECT
    changed.segment_id,
    changed.included
FROM changed
