-- sql/events/find_cut.sql
-- Finds up to where events can be read at once, from a time on: some thousands of bounds at most.
--
-- $1 from    timestamptz
-- $2 horizon timestamptz
-- $3 most    bigint, the most bounds of a kind
--
-- Returns: one row: cut timestamptz, exclusive: $1 if very many users may enter or leave at $1;
--          null if the horizon is reached
-- Locks:   none
-- Index:   membership_valid_from_segment_id_user_id_idx,
--          membership_valid_to_segment_id_user_id_idx, users_first_seen_at_id_idx,
--          segment_deleted_at_idx
--
-- A change of a percentage, the end of a segment and a change of a layer may move all users, so
-- reading stops before them. It also stops before a bound that has more of them at the same time
-- than are read here. Rollouts are few, and have no index on their starts: PostgreSQL would take it
-- for the hot read too, and find those that have ended.

SELECT
    least(
        stop.horizon,
        (
            SELECT min(r.valid_from)
            FROM rollout AS r
            WHERE r.valid_from >= $1::timestamptz
        ),
        (
            SELECT min(r.valid_to)
            FROM rollout AS r
            WHERE r.valid_to >= $1::timestamptz
        ),
        (
            SELECT min(s.deleted_at)
            FROM segment AS s
            WHERE s.deleted_at >= $1::timestamptz
        ),
        (
            SELECT min(l.valid_from)
            FROM layer_segment AS l
            WHERE l.valid_from >= $1::timestamptz
        ),
        (
            SELECT min(l.valid_to)
            FROM layer_segment AS l
            WHERE l.valid_to >= $1::timestamptz
        ),
        (
            SELECT CASE WHEN count(*) = $3::bigint THEN max(started.valid_from) END
            FROM (
                SELECT m.valid_from
                FROM membership AS m
                WHERE m.valid_from >= $1::timestamptz
                ORDER BY m.valid_from
                LIMIT $3::bigint
            ) AS started
        ),
        (
            SELECT CASE WHEN count(*) = $3::bigint THEN max(ended.valid_to) END
            FROM (
                SELECT m.valid_to
                FROM membership AS m
                WHERE m.valid_to >= $1::timestamptz AND m.valid_to < 'infinity'
                ORDER BY m.valid_to
                LIMIT $3::bigint
            ) AS ended
        ),
        -- A new user is hashed for each percentage that is in force, until the next one begins or
        -- ends: fewer users are read if these are many.
        (
            SELECT CASE WHEN count(*) = max(allowed.users) THEN max(seen.first_seen_at) END
            FROM (
                SELECT
                    least(
                        $3::bigint, 1 + 100 * $3::bigint / (1 + count(*))
                    ) AS users
                FROM rollout AS r
                WHERE r.valid_from <= $1::timestamptz AND r.valid_to > $1::timestamptz
            ) AS allowed
            CROSS JOIN LATERAL (
                SELECT u.first_seen_at
                FROM users AS u
                WHERE u.first_seen_at >= $1::timestamptz
                ORDER BY u.first_seen_at
                LIMIT allowed.users
            ) AS seen
        )
    ) AS cut
FROM (SELECT least($2::timestamptz, now()) AS horizon) AS stop
WHERE stop.horizon > $1::timestamptz
