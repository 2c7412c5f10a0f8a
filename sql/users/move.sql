-- sql/users/move.sql
-- Ends what users are in by hand elsewhere in the layers of segments that were added.
-- Needs: users/lock, users/change.
--
-- $1 now         timestamptz, read after the users were locked
-- $2 user_ids    bigint[], one for each addition
-- $3 segment_ids bigint[], ids of the segments
-- $4 since       timestamptz[], the start for each of them; null for now
-- $5 until       timestamptz[], the end for each of them; null for no end
-- $6 actors      text[], null without an API key
--
-- Returns: nothing
-- Locks:   the periods that it closes or deletes; the locks of the users exclude other writers
-- Index:   membership_pkey, membership_segment_id_user_id_idx
--
-- What covers the start ends there; what is planned between the start and the end is deleted. An
-- excluded period that ended where a deleted plan began goes on to the end of that plan.

-- MATERIALIZED: as of before the writes.
WITH met AS MATERIALIZED (
    SELECT
        m.user_id,
        m.segment_id,
        m.valid_from,
        m.valid_to,
        min(a.actor) AS actor,
        min(coalesce(a.since, $1::timestamptz)) AS moved_at,
        m.planned
        AND m.valid_from > $1::timestamptz
        AND m.valid_from >= min(coalesce(a.since, $1::timestamptz)) AS is_plan
    FROM
        unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[])
            AS a (user_id, segment_id, since, until, actor)
    INNER JOIN elsewhere AS e
        ON
            a.user_id = e.user_id
            AND a.segment_id = e.segment_id
            AND e.valid_to > coalesce(a.since, $1::timestamptz)
            AND e.valid_from < coalesce(a.until, 'infinity')
    INNER JOIN membership AS m
        ON
            e.user_id = m.user_id
            AND e.by_segment_id = m.segment_id
            AND e.began_at = m.valid_from
    GROUP BY m.user_id, m.segment_id, m.valid_from, m.valid_to, m.planned
),

cancelled AS (
    DELETE FROM membership AS m
    USING met
    WHERE
        met.is_plan
        AND m.user_id = met.user_id
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
        closed_by = met.actor
    FROM met
    WHERE
        NOT met.is_plan
        AND m.user_id = met.user_id
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
    AND m.user_id = met.user_id
    AND m.segment_id = met.segment_id
    AND m.valid_to = met.valid_from
