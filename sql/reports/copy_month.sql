-- sql/reports/copy_month.sql
-- Lists the events of all users in a month, for COPY: the driver sends the parameters as literals.
--
-- $1 from timestamptz, inclusive
-- $2 to   timestamptz, exclusive
--
-- Returns: a row each, ordered by user, time and slug: user_id bigint, slug text, operation text,
--          at text (RFC 3339)
-- Locks:   none
-- Index:   membership_valid_from_idx, membership_valid_to_idx, membership_segment_id_user_id_idx,
--          segment_deleted_at_idx, segment_pkey, users_first_seen_at_idx, users_pkey
--
-- A stay can only start or end where something changed: a period, a percentage, the end of a
-- segment, or that a user became known. So the pairs of user and segment come from what changed in
-- the month, and not from everything that is stored.

-- The points that a change of percentages moved into a segment or out of it.
WITH moved AS (
    SELECT
        bound.segment_id,
        bound.salt,
        bound.at,
        range_agg(bound.points) FILTER (WHERE bound.is_start) AS started,
        range_agg(bound.points) FILTER (WHERE NOT bound.is_start) AS ended
    FROM (
        SELECT
            r.segment_id,
            r.salt,
            r.points,
            r.valid_to AS at,
            FALSE AS is_start
        FROM rollout AS r
        WHERE r.valid_to >= $1::timestamptz AND r.valid_to < $2::timestamptz
        UNION ALL
        SELECT
            r.segment_id,
            r.salt,
            r.points,
            r.valid_from AS at,
            TRUE AS is_start
        FROM rollout AS r
        WHERE r.valid_from >= $1::timestamptz AND r.valid_from < $2::timestamptz
    ) AS bound
    GROUP BY bound.segment_id, bound.salt, bound.at
),

-- MATERIALIZED: read twice below.
rollout_change AS MATERIALIZED (
    SELECT
        moved.segment_id,
        moved.salt,
        moved.at,
        (coalesce(moved.started, '{}') + coalesce(moved.ended, '{}'))
        - (coalesce(moved.started, '{}') * coalesce(moved.ended, '{}')) AS points
    FROM moved
),

pair AS (
    SELECT
        m.user_id,
        m.segment_id
    FROM membership AS m
    WHERE m.valid_from >= $1::timestamptz AND m.valid_from < $2::timestamptz
    UNION
    SELECT
        m.user_id,
        m.segment_id
    FROM membership AS m
    WHERE
        m.valid_to >= $1::timestamptz
        AND m.valid_to < $2::timestamptz
        AND m.valid_to < 'infinity'
    UNION
    SELECT
        m.user_id,
        m.segment_id
    FROM segment AS s
    INNER JOIN LATERAL (
        SELECT
            inside.user_id,
            inside.segment_id
        FROM membership AS inside
        WHERE
            inside.segment_id = s.id
            AND inside.included
            AND inside.valid_from < s.deleted_at
            AND inside.valid_to >= s.deleted_at
    ) AS m ON TRUE
    WHERE s.deleted_at >= $1::timestamptz AND s.deleted_at < $2::timestamptz
    UNION
    SELECT
        u.id AS user_id,
        c.segment_id
    FROM rollout_change AS c
    INNER JOIN users AS u ON c.at >= u.first_seen_at
    WHERE
        rollout_point(c.salt, u.id) <@ c.points
        -- Implied by the join, but evaluated first and once: a month without changed percentages
        -- scans no users.
        AND EXISTS (SELECT FROM rollout_change)
    UNION
    SELECT
        u.id AS user_id,
        r.segment_id
    FROM users AS u
    INNER JOIN rollout AS r ON u.first_seen_at >= r.valid_from AND u.first_seen_at < r.valid_to
    WHERE
        u.first_seen_at >= $1::timestamptz
        AND u.first_seen_at < $2::timestamptz
        AND rollout_point(r.salt, u.id) <@ r.points
)

SELECT
    pair.user_id,
    s.slug,
    e.operation,
    to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
FROM pair
INNER JOIN segment AS s ON pair.segment_id = s.id
CROSS JOIN LATERAL stay_events(pair.user_id, pair.segment_id) AS e
WHERE e.at >= $1::timestamptz AND e.at < $2::timestamptz
ORDER BY pair.user_id, e.at, s.slug
