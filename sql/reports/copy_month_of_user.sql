-- sql/reports/copy_month_of_user.sql
-- Lists the events of one user in a month, for COPY: the driver sends the parameters as literals.
--
-- $1 from    timestamptz, inclusive
-- $2 to      timestamptz, exclusive
-- $3 user_id bigint
--
-- Returns: a row each, ordered by time and slug: user_id bigint, slug text, operation text,
--          at text (RFC 3339)
-- Locks:   none
-- Index:   membership_pkey, users_pkey

WITH related AS (
    SELECT
        m.user_id,
        m.segment_id
    FROM membership AS m
    WHERE m.user_id = $3::bigint
    UNION
    SELECT
        $3::bigint AS user_id,
        r.segment_id
    FROM rollout AS r
)

SELECT
    $3::bigint AS user_id,
    s.slug,
    e.operation,
    to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
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
WHERE e.at >= $1::timestamptz AND e.at < $2::timestamptz
ORDER BY e.at, s.slug
