-- sql/segments/preview.sql
-- Counts the known users who would enter and leave a segment if it took other points then.
--
-- $1 id         bigint
-- $2 at         timestamptz, now or later
-- $3 salt       text, of the points
-- $4 points     text of an int8multirange, those of the percentage
-- $5 neighbours bigint[], ids of the other segments of its layer
--
-- Returns: one row: enter bigint, leave bigint
-- Locks:   none
-- Index:   membership_segment_id_user_id_idx
--
-- Compared with what is planned for that time. Users whom a period by hand decides do neither, and
-- nobody does when the segment has ended. Each known user is hashed once for each salt: a million
-- take two seconds (PostgreSQL 18, two cores).

WITH compared AS MATERIALIZED (
    SELECT
        $4::text::int8multirange AS new_points,
        coalesce(r.salt, $3::text) AS old_salt,
        coalesce(r.points, '{}') AS old_points
    FROM segment AS s
    LEFT JOIN rollout AS r
        ON s.id = r.segment_id AND r.valid_from <= $2::timestamptz AND r.valid_to > $2::timestamptz
    WHERE s.id = $1::bigint AND s.deleted_at > $2::timestamptz
),

-- MATERIALIZED: each user is hashed once.
known_user AS MATERIALIZED (
    SELECT
        u.id,
        rollout_point($3::text, u.id) AS new_point,
        CASE WHEN c.old_salt <> $3::text THEN rollout_point(c.old_salt, u.id) END AS old_point
    FROM compared AS c
    CROSS JOIN users AS u
    WHERE
        u.first_seen_at <= $2::timestamptz
        AND (c.old_salt, c.old_points) <> ($3::text, c.new_points)
),

-- Users by percentage are those whose point it is, unless another segment of the layer has them by
-- hand. MATERIALIZED: looked up once a user whose point it was or would be.
found AS MATERIALIZED (
    SELECT
        k.id,
        c.old_points @> coalesce(k.old_point, k.new_point)
        AND NOT EXISTS (
            SELECT FROM elsewhere AS e
            WHERE
                e.user_id = k.id
                AND e.segment_id = $1::bigint
                AND e.valid_from <= $2::timestamptz
                AND e.valid_to > $2::timestamptz
        ) AS was_in,
        c.new_points @> k.new_point
        AND NOT EXISTS (
            SELECT FROM membership AS m
            WHERE
                m.user_id = k.id
                AND m.segment_id = ANY($5::bigint[])
                AND m.included
                AND m.valid_from <= $2::timestamptz
                AND m.valid_to > $2::timestamptz
        ) AS will_be_in
    FROM compared AS c
    CROSS JOIN known_user AS k
    WHERE
        c.old_points @> coalesce(k.old_point, k.new_point)
        OR c.new_points @> k.new_point
)

SELECT
    count(*) FILTER (WHERE f.will_be_in) AS enter,
    count(*) FILTER (WHERE f.was_in) AS leave
FROM found AS f
WHERE
    f.was_in <> f.will_be_in
    AND NOT EXISTS (
        SELECT FROM membership AS m
        WHERE
            m.segment_id = $1::bigint
            AND m.user_id = f.id
            AND m.valid_from <= $2::timestamptz
            AND m.valid_to > $2::timestamptz
    )
