-- sql/maintenance/replay.sql
-- Replays the events of some users up to now.
--
-- $1 user_ids bigint[]
--
-- Returns: a row for each user, in the order asked: user_id bigint, segments text[] sorted
--          bytewise, alternates boolean: whether each segment's events are add, remove, add, ...,
--          apart boolean: whether no two segments of a layer ever had the user at once
-- Locks:   none
-- Index:   membership_pkey, membership_segment_id_user_id_idx, users_pkey

WITH related AS (
    SELECT
        m.user_id,
        m.segment_id
    FROM membership AS m
    WHERE m.user_id = ANY($1::bigint[])
    UNION
    SELECT
        asked.user_id,
        r.segment_id
    FROM unnest($1::bigint[]) AS asked (user_id)
    CROSS JOIN rollout AS r
),

event AS (
    SELECT
        related.user_id,
        related.segment_id,
        s.slug,
        e.at,
        e.operation,
        coalesce(lead(e.at) OVER earlier_first, 'infinity') AS next_at,
        e.operation = coalesce(lag(e.operation) OVER earlier_first, 'remove') AS repeats,
        lead(e.at) OVER earlier_first IS NULL AS is_last
    FROM related
    INNER JOIN segment AS s ON related.segment_id = s.id
    INNER JOIN LATERAL (
        SELECT
            u.first_seen_at,
            (
                SELECT array_agg(m)
                FROM membership AS m
                WHERE m.user_id = related.user_id AND m.segment_id = s.id
            ) AS by_hand,
            (
                SELECT array_agg(r)
                FROM rollout AS r
                WHERE r.segment_id = s.id AND rollout_point(r.salt, related.user_id) <@ r.points
            ) AS rollouts,
            (
                SELECT array_agg(e)
                FROM elsewhere AS e
                WHERE e.user_id = related.user_id AND e.segment_id = s.id
            ) AS elsewhere
        FROM users AS u
        WHERE u.id = related.user_id
        -- The LIMIT keeps the planner from gathering them for each use in the function.
        LIMIT 1 -- noqa: AM09
    ) AS stored ON TRUE
    CROSS JOIN
        LATERAL stay_events(
            s, stored.first_seen_at, stored.by_hand, stored.rollouts, stored.elsewhere
        ) AS e
    WINDOW earlier_first AS (PARTITION BY related.user_id, related.segment_id ORDER BY e.at)
),

shared AS (
    SELECT DISTINCT one.user_id
    FROM event AS one
    INNER JOIN event AS other
        ON
            one.user_id = other.user_id
            AND one.segment_id < other.segment_id
            AND other.operation = 'add'
    INNER JOIN layer_segment AS l ON one.segment_id = l.segment_id
    INNER JOIN layer_segment AS o
        ON other.segment_id = o.segment_id AND l.layer_id = o.layer_id
    WHERE
        one.operation = 'add'
        AND greatest(one.at, other.at, l.valid_from, o.valid_from)
        < least(one.next_at, other.next_at, l.valid_to, o.valid_to)
)

SELECT
    asked.user_id,
    coalesce(
        array_agg(event.slug ORDER BY event.slug)
        FILTER (WHERE event.is_last AND event.operation = 'add'),
        '{}'
    ) AS segments,
    coalesce(bool_and(NOT event.repeats), TRUE) AS alternates,
    asked.user_id <> ALL(ARRAY(SELECT shared.user_id FROM shared)) AS apart
FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (user_id, ordinal)
LEFT JOIN event ON asked.user_id = event.user_id
GROUP BY asked.user_id, asked.ordinal
ORDER BY asked.ordinal
