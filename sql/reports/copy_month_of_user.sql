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

WITH related_segment AS (
    SELECT m.segment_id
    FROM membership AS m
    WHERE m.user_id = $3::bigint
    UNION
    SELECT r.segment_id
    FROM rollout AS r
)

SELECT
    $3::bigint AS user_id,
    s.slug,
    e.operation,
    to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
FROM related_segment AS related
INNER JOIN segment AS s ON related.segment_id = s.id
CROSS JOIN LATERAL stay_events($3::bigint, related.segment_id) AS e
WHERE e.at >= $1::timestamptz AND e.at < $2::timestamptz
ORDER BY e.at, s.slug
