-- sql/members/find_unlisted.sql
-- Stages the users who are in a segment, or planned to be, and not in the list that replaces them.
-- Needs: members/analyze_staged, members/stage_unlisted, members/lock_registration.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the segment was locked
--
-- Returns: nothing
-- Locks:   the temporary table, which only this connection sees
-- Index:   membership_segment_id_user_id_idx
--
-- By hand, who is suspended by another segment of the layer is among them: nobody shall come back.
-- By percentage it is who is in now, found by hashing the known users, if there is a percentage.

WITH in_force AS MATERIALIZED (
    SELECT
        r.salt,
        r.points
    FROM rollout AS r
    WHERE
        r.segment_id = $1::bigint
        AND r.valid_from <= $2::timestamptz
        AND r.valid_to > $2::timestamptz
        AND NOT isempty(r.points)
),

found AS (
    SELECT m.user_id
    FROM membership AS m
    WHERE m.segment_id = $1::bigint AND m.included AND m.valid_to > $2::timestamptz
    UNION
    SELECT u.id AS user_id
    FROM in_force AS f
    INNER JOIN users AS u ON u.first_seen_at <= $2::timestamptz
    WHERE
        rollout_point(f.salt, u.id) <@ f.points
        AND NOT EXISTS (
            SELECT FROM membership AS m
            WHERE
                m.segment_id = $1::bigint
                AND m.user_id = u.id
                AND m.valid_from <= $2::timestamptz
                AND m.valid_to > $2::timestamptz
        )
        AND NOT EXISTS (
            SELECT FROM elsewhere AS e
            WHERE
                e.segment_id = $1::bigint
                AND e.user_id = u.id
                AND e.valid_from <= $2::timestamptz
                AND e.valid_to > $2::timestamptz
        )
)

INSERT INTO unlisted (user_id)
SELECT found.user_id
FROM found
WHERE
    NOT EXISTS (
        SELECT FROM staged
        WHERE staged.user_id = found.user_id
    )
