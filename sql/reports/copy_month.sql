-- sql/reports/copy_month.sql
-- Lists the events of all users in a month, for COPY: the driver sends the parameters as literals.
--
-- $1 from timestamptz, inclusive
-- $2 to   timestamptz, exclusive
--
-- Returns: a row each, ordered by user, time and slug: user_id bigint, slug text, operation text,
--          at text (RFC 3339)
-- Locks:   none
-- Index:   membership_valid_from_segment_id_user_id_idx,
--          membership_valid_to_segment_id_user_id_idx, membership_segment_id_user_id_idx,
--          segment_deleted_at_idx, segment_pkey, users_first_seen_at_id_idx, users_pkey
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

-- Segments that were in one layer at some time. What happens by hand in one of them moves users of
-- the others.
neighbour AS (
    SELECT DISTINCT
        mine.segment_id,
        other.segment_id AS other_id
    FROM layer_segment AS mine
    INNER JOIN layer_segment AS other
        ON
            mine.layer_id = other.layer_id
            AND mine.segment_id <> other.segment_id
            AND mine.valid_from < other.valid_to
            AND mine.valid_to > other.valid_from
),

by_hand AS (
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
        m.user_id,
        m.segment_id
    FROM layer_segment AS l
    INNER JOIN LATERAL (
        SELECT
            inside.user_id,
            inside.segment_id
        FROM membership AS inside
        WHERE
            inside.segment_id = l.segment_id
            AND inside.included
            AND inside.valid_from <= l.valid_to
            AND inside.valid_to >= l.valid_from
    ) AS m ON TRUE
    WHERE
        (l.valid_from >= $1::timestamptz AND l.valid_from < $2::timestamptz)
        OR (l.valid_to >= $1::timestamptz AND l.valid_to < $2::timestamptz)
),

pair AS (
    SELECT
        b.user_id,
        b.segment_id
    FROM by_hand AS b
    UNION
    SELECT
        b.user_id,
        n.other_id AS segment_id
    FROM by_hand AS b
    INNER JOIN neighbour AS n ON b.segment_id = n.segment_id
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
INNER JOIN LATERAL (
    SELECT
        u.first_seen_at,
        (
            SELECT array_agg(m)
            FROM membership AS m
            WHERE m.user_id = pair.user_id AND m.segment_id = s.id
        ) AS by_hand,
        (
            SELECT array_agg(r)
            FROM rollout AS r
            WHERE r.segment_id = s.id AND rollout_point(r.salt, pair.user_id) <@ r.points
        ) AS rollouts,
        (
            SELECT array_agg(e)
            FROM elsewhere AS e
            WHERE e.user_id = pair.user_id AND e.segment_id = s.id
        ) AS elsewhere
    FROM users AS u
    WHERE u.id = pair.user_id
    -- The LIMIT keeps the planner from gathering them for each use in the function.
    LIMIT 1 -- noqa: AM09
) AS stored ON TRUE
CROSS JOIN
    LATERAL stay_events(
        s, stored.first_seen_at, stored.by_hand, stored.rollouts, stored.elsewhere
    ) AS e
WHERE e.at >= $1::timestamptz AND e.at < $2::timestamptz
ORDER BY pair.user_id, e.at, s.slug
