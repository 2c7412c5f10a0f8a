-- sql/events/list_between.sql
-- Lists the events after a position and before a time, in their order.
--
-- $1 at         timestamptz, of the position
-- $2 segment_id bigint, of the position
-- $3 user_id    bigint, of the position
-- $4 before     timestamptz, from events/find_cut
-- $5 ids        bigint[], of the segments; null for all
-- $6 limit      bigint
--
-- Returns: a row each: at timestamptz, segment_id bigint, user_id bigint, slug text,
--          operation text, cause text, actor text
-- Locks:   none
-- Index:   membership_valid_from_segment_id_user_id_idx,
--          membership_valid_to_segment_id_user_id_idx, membership_pkey, segment_pkey,
--          membership_segment_id_user_id_idx, users_first_seen_at_id_idx, users_pkey
--
-- A stay can only start or end where something changed: before $4, these are the bounds of periods
-- by hand, and that a user became known. A bound also moves the user in the other segments of the
-- layer, if the user is there by hand or by percentage. At most one stay of a user in a segment
-- starts or ends at one time.

-- MATERIALIZED: read more than once below.
WITH bound AS MATERIALIZED (
    SELECT
        m.valid_from AS at,
        m.segment_id,
        m.user_id
    FROM membership AS m
    WHERE m.valid_from >= $1::timestamptz AND m.valid_from < $4::timestamptz
    UNION
    SELECT
        m.valid_to AS at,
        m.segment_id,
        m.user_id
    FROM membership AS m
    WHERE
        m.valid_to >= $1::timestamptz
        AND m.valid_to < $4::timestamptz
        AND m.valid_to < 'infinity'
),

-- MATERIALIZED: joined with each new user, and with each bound in a layer.
in_force AS MATERIALIZED (
    SELECT
        r.segment_id,
        r.layer_id,
        r.salt,
        r.points,
        r.valid_from,
        r.valid_to
    FROM rollout AS r
    WHERE
        r.valid_from < $4::timestamptz
        AND r.valid_to > $1::timestamptz
        AND r.segment_id = ANY(coalesce($5::bigint[], ARRAY[r.segment_id]))
),

candidate AS (
    SELECT
        b.at,
        b.segment_id,
        b.user_id
    FROM bound AS b
    UNION
    SELECT
        b.at,
        m.segment_id,
        b.user_id
    FROM bound AS b
    INNER JOIN layer_segment AS mine
        ON b.segment_id = mine.segment_id AND b.at >= mine.valid_from AND b.at < mine.valid_to
    INNER JOIN membership AS m
        ON b.user_id = m.user_id AND b.at >= m.valid_from AND b.at <= m.valid_to
    INNER JOIN layer_segment AS other
        ON
            m.segment_id = other.segment_id
            AND mine.layer_id = other.layer_id
            AND b.at >= other.valid_from
            AND b.at < other.valid_to
    UNION
    SELECT
        b.at,
        r.segment_id,
        b.user_id
    FROM bound AS b
    INNER JOIN layer_segment AS mine
        ON b.segment_id = mine.segment_id AND b.at >= mine.valid_from AND b.at < mine.valid_to
    INNER JOIN in_force AS r
        ON mine.layer_id = r.layer_id AND b.at >= r.valid_from AND b.at < r.valid_to
    WHERE rollout_point(r.salt, b.user_id) <@ r.points
    UNION
    SELECT
        u.first_seen_at AS at,
        r.segment_id,
        u.id AS user_id
    FROM users AS u
    INNER JOIN in_force AS r ON u.first_seen_at >= r.valid_from AND u.first_seen_at < r.valid_to
    WHERE
        u.first_seen_at >= $1::timestamptz
        AND u.first_seen_at < $4::timestamptz
        AND rollout_point(r.salt, u.id) <@ r.points
)

SELECT
    c.at,
    c.segment_id,
    c.user_id,
    e.operation,
    e.cause,
    e.actor,
    (stored.life).slug AS slug
FROM candidate AS c
INNER JOIN LATERAL (
    SELECT
        s AS life,
        u.first_seen_at,
        (
            SELECT array_agg(m)
            FROM membership AS m
            WHERE m.user_id = c.user_id AND m.segment_id = c.segment_id
        ) AS by_hand,
        (
            SELECT array_agg(r)
            FROM rollout AS r
            WHERE r.segment_id = c.segment_id AND rollout_point(r.salt, c.user_id) <@ r.points
        ) AS rollouts,
        (
            SELECT array_agg(e)
            FROM elsewhere AS e
            WHERE e.user_id = c.user_id AND e.segment_id = c.segment_id
        ) AS elsewhere
    FROM users AS u
    CROSS JOIN segment AS s
    WHERE u.id = c.user_id AND s.id = c.segment_id
    -- The LIMIT keeps the planner from gathering them for each use in the function.
    LIMIT 1 -- noqa: AM09
) AS stored ON TRUE
CROSS JOIN
    LATERAL stay_events(
        stored.life, stored.first_seen_at, stored.by_hand, stored.rollouts, stored.elsewhere
    ) AS e
WHERE
    (c.at, c.segment_id, c.user_id) > ($1::timestamptz, $2::bigint, $3::bigint)
    AND c.segment_id = ANY(coalesce($5::bigint[], ARRAY[c.segment_id]))
    AND c.at = e.at
ORDER BY c.at, c.segment_id, c.user_id
LIMIT $6::bigint
