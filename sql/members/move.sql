-- sql/members/move.sql
-- Ends what the users of a file are in by hand elsewhere in the layer of a segment.
-- Needs: members/lock_segment, members/change.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the segment was locked
-- $3 since      timestamptz, the start of what was added; null for now
-- $4 until      timestamptz, the end of what was added; null for no end
-- $5 actor      text, null without an API key
--
-- Returns: nothing
-- Locks:   the periods that it closes or deletes; the locks of the segments exclude other writers
-- Index:   membership_segment_id_user_id_idx
--
-- It does what users/move does, for the users in the temporary table `staged`.

-- MATERIALIZED: as of before the writes.
WITH met AS MATERIALIZED (
    SELECT
        m.user_id,
        m.segment_id,
        m.valid_from,
        m.valid_to,
        m.planned
        AND m.valid_from > $2::timestamptz
        AND m.valid_from >= coalesce($3::timestamptz, $2::timestamptz) AS is_plan
    FROM (SELECT DISTINCT staged.user_id FROM staged) AS staged_user
    INNER JOIN elsewhere AS e
        ON
            staged_user.user_id = e.user_id
            AND e.segment_id = $1::bigint
            AND e.valid_to > coalesce($3::timestamptz, $2::timestamptz)
            AND e.valid_from < coalesce($4::timestamptz, 'infinity')
    INNER JOIN membership AS m
        ON
            e.by_segment_id = m.segment_id
            AND e.user_id = m.user_id
            AND e.began_at = m.valid_from
),

cancelled AS (
    DELETE FROM membership AS m
    USING met
    WHERE
        met.is_plan
        AND m.segment_id = met.segment_id
        AND m.user_id = met.user_id
        AND m.valid_to = met.valid_to
    RETURNING m.user_id
),

after_cancel AS (
    SELECT count(*) AS periods
    FROM cancelled
),

ended AS (
    UPDATE membership AS m
    SET
        valid_to = greatest(
            coalesce($3::timestamptz, $2::timestamptz), met.valid_from + interval '1 microsecond'
        ),
        moved = TRUE,
        removed = FALSE,
        closed_by = $5::text
    FROM met
    WHERE
        NOT met.is_plan
        AND m.segment_id = met.segment_id
        AND m.user_id = met.user_id
        AND m.valid_to = met.valid_to
)

UPDATE membership AS m
SET valid_to = met.valid_to
FROM after_cancel
CROSS JOIN met
WHERE
    met.is_plan
    AND NOT m.included
    AND m.segment_id = met.segment_id
    AND m.user_id = met.user_id
    AND m.valid_to = met.valid_from
