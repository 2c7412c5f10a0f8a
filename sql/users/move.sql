-- sql/users/move.sql
-- Ends what a user is in by hand elsewhere in the layers of segments that were added.
-- Needs: users/lock, users/change.
--
-- $1 user_id bigint
-- $2 now     timestamptz, read after the user was locked
-- $3 add     bigint[], ids of the segments
-- $4 since   timestamptz[], the start for each of them; null for now
-- $5 until   timestamptz[], the end for each of them; null for no end
-- $6 actor   text, null without an API key
--
-- Returns: nothing
-- Locks:   the periods that it closes or deletes; the lock of the user excludes other writers
-- Index:   membership_pkey, membership_segment_id_user_id_idx
--
-- What covers the start ends there; what is planned between the start and the end is deleted. An
-- excluded period that ended where a deleted plan began goes on to the end of that plan.

-- MATERIALIZED: as of before the writes.
WITH met AS MATERIALIZED (
    SELECT
        m.segment_id,
        m.valid_from,
        m.valid_to,
        min(coalesce(a.since, $2::timestamptz)) AS moved_at,
        m.planned
        AND m.valid_from > $2::timestamptz
        AND m.valid_from >= min(coalesce(a.since, $2::timestamptz)) AS is_plan
    FROM
        unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[]) AS a (segment_id, since, until)
    INNER JOIN elsewhere AS e
        ON
            a.segment_id = e.segment_id
            AND e.user_id = $1::bigint
            AND e.valid_to > coalesce(a.since, $2::timestamptz)
            AND e.valid_from < coalesce(a.until, 'infinity')
    INNER JOIN membership AS m
        ON
            m.user_id = $1::bigint
            AND e.by_segment_id = m.segment_id
            AND e.began_at = m.valid_from
    GROUP BY m.segment_id, m.valid_from, m.valid_to, m.planned
),

cancelled AS (
    DELETE FROM membership AS m
    USING met
    WHERE
        met.is_plan
        AND m.user_id = $1::bigint
        AND m.segment_id = met.segment_id
        AND m.valid_to = met.valid_to
    RETURNING m.segment_id
),

after_cancel AS (
    SELECT count(*) AS periods
    FROM cancelled
),

ended AS (
    UPDATE membership AS m
    SET
        valid_to = greatest(met.moved_at, met.valid_from + interval '1 microsecond'),
        moved = TRUE,
        removed = FALSE,
        closed_by = $6::text
    FROM met
    WHERE
        NOT met.is_plan
        AND m.user_id = $1::bigint
        AND m.segment_id = met.segment_id
        AND m.valid_to = met.valid_to
)

UPDATE membership AS m
SET valid_to = met.valid_to
FROM after_cancel
CROSS JOIN met
WHERE
    met.is_plan
    AND NOT m.included
    AND m.user_id = $1::bigint
    AND m.segment_id = met.segment_id
    AND m.valid_to = met.valid_from
