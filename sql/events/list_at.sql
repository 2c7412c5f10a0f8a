-- sql/events/list_at.sql
-- Lists events in one segment at one time, in the order of users, looking at so many of them.
--
-- $1 at         timestamptz
-- $2 segment_id bigint, from events/find_segment
-- $3 user_id    bigint, the last one that was looked at; 0 at first
-- $4 most       bigint, the most rows to look at for each reason below
--
-- Returns: a row each: at timestamptz, segment_id bigint, user_id bigint, slug text,
--          operation text, cause text, actor text, and scanned_until bigint, the last user that was
--          looked at, null if that were all; one row with nothing else if there is no event
-- Locks:   none
-- Index:   membership_valid_from_segment_id_user_id_idx,
--          membership_valid_to_segment_id_user_id_idx, membership_segment_id_user_id_idx,
--          membership_pkey, users_first_seen_at_id_idx, users_pkey, segment_pkey
--
-- The reasons for which a user may enter or leave then: a period by hand begins or ends, here or in
-- another segment of the layer; the user became known; the segment ends, or a segment enters or
-- leaves the layer, for all members; the percentage changes, for all known users.

-- The segment, and those in its layer.
WITH near AS MATERIALIZED (
    SELECT
        s.id AS segment_id,
        s.deleted_at = $1::timestamptz
        OR EXISTS (
            SELECT FROM layer_segment AS l
            WHERE
                l.segment_id = s.id
                AND (l.valid_from = $1::timestamptz OR l.valid_to = $1::timestamptz)
        ) AS moves_all
    FROM segment AS s
    WHERE s.id = $2::bigint
    UNION ALL
    SELECT
        other.segment_id,
        bool_or(
            $1::timestamptz IN (mine.valid_from, mine.valid_to, other.valid_from, other.valid_to)
        ) AS moves_all
    FROM layer_segment AS mine
    INNER JOIN layer_segment AS other
        ON mine.layer_id = other.layer_id AND mine.segment_id <> other.segment_id
    WHERE
        mine.segment_id = $2::bigint
        AND mine.valid_from <= $1::timestamptz
        AND mine.valid_to >= $1::timestamptz
        AND other.valid_from <= $1::timestamptz
        AND other.valid_to >= $1::timestamptz
    GROUP BY other.segment_id
),

gate AS MATERIALIZED (
    SELECT
        count(*) > 0 AS is_automatic,
        coalesce(bool_or($1::timestamptz IN (r.valid_from, r.valid_to)), FALSE) AS moves_users
    FROM rollout AS r
    WHERE
        r.segment_id = $2::bigint
        AND r.valid_from <= $1::timestamptz
        AND r.valid_to >= $1::timestamptz
),

-- Periods by hand, here and in the layer. Rows are compared in the order of the indexes on times,
-- so that PostgreSQL takes no other index: that on segments and users leads through all members.
moved AS MATERIALIZED (
    SELECT
        'started' AS reason,
        near.segment_id,
        started.user_id,
        TRUE AS applies
    FROM near
    CROSS JOIN
        LATERAL (
            SELECT m.user_id
            FROM membership AS m
            WHERE
                (m.valid_from, m.segment_id, m.user_id)
                > ($1::timestamptz, near.segment_id, $3::bigint)
                AND (m.valid_from, m.segment_id) <= ($1::timestamptz, near.segment_id)
            ORDER BY m.valid_from, m.segment_id, m.user_id
            LIMIT $4::bigint
        ) AS started
    UNION ALL
    SELECT
        'ended' AS reason,
        near.segment_id,
        ended.user_id,
        TRUE AS applies
    FROM near
    CROSS JOIN
        LATERAL (
            SELECT m.user_id
            FROM membership AS m
            WHERE
                (m.valid_to, m.segment_id, m.user_id)
                > ($1::timestamptz, near.segment_id, $3::bigint)
                AND (m.valid_to, m.segment_id) <= ($1::timestamptz, near.segment_id)
                AND m.valid_to < 'infinity'
            ORDER BY m.valid_to, m.segment_id, m.user_id
            LIMIT $4::bigint
        ) AS ended
    UNION ALL
    SELECT
        'member' AS reason,
        near.segment_id,
        member.user_id,
        member.included
        AND member.valid_from <= $1::timestamptz
        AND member.valid_to >= $1::timestamptz AS applies
    FROM near
    CROSS JOIN
        LATERAL (
            SELECT
                m.user_id,
                m.included,
                m.valid_from,
                m.valid_to
            FROM membership AS m
            WHERE
                near.moves_all
                AND m.segment_id = near.segment_id
                AND m.user_id > $3::bigint
            ORDER BY m.user_id
            LIMIT $4::bigint
        ) AS member
),

-- Who is here by hand, if periods in other segments may move users here.
own AS MATERIALIZED (
    SELECT
        m.user_id,
        m.included
        AND m.valid_from <= $1::timestamptz
        AND m.valid_to >= $1::timestamptz AS applies
    FROM membership AS m
    WHERE
        (SELECT count(*) > 1 FROM near)
        AND m.segment_id = $2::bigint
        AND m.user_id > $3::bigint
    ORDER BY m.user_id
    LIMIT $4::bigint
),

scanned AS MATERIALIZED (
    SELECT
        moved.reason,
        moved.segment_id,
        moved.user_id,
        moved.applies
        AND (
            moved.segment_id = $2::bigint
            -- A period in another segment counts for who is here by hand or by percentage.
            OR EXISTS (
                SELECT FROM membership AS mine
                WHERE
                    mine.user_id = moved.user_id
                    AND mine.segment_id = $2::bigint
                    AND mine.included
                    AND mine.valid_from <= $1::timestamptz
                    AND mine.valid_to >= $1::timestamptz
            )
            OR EXISTS (
                SELECT FROM rollout AS r
                WHERE
                    r.segment_id = $2::bigint
                    AND r.valid_from <= $1::timestamptz
                    AND r.valid_to >= $1::timestamptz
                    AND rollout_point(r.salt, moved.user_id) <@ r.points
            )
        ) AS applies
    FROM moved
    UNION ALL
    SELECT
        'own' AS reason,
        $2::bigint AS segment_id,
        own.user_id,
        own.applies
        AND EXISTS (
            SELECT FROM membership AS theirs
            INNER JOIN near ON theirs.segment_id = near.segment_id
            WHERE
                theirs.user_id = own.user_id
                AND theirs.valid_from <= $1::timestamptz
                AND theirs.valid_to >= $1::timestamptz
                AND (
                    near.moves_all
                    OR theirs.valid_from = $1::timestamptz
                    OR theirs.valid_to = $1::timestamptz
                )
        ) AS applies
    FROM own
    UNION ALL
    (
        SELECT
            'known' AS reason,
            $2::bigint AS segment_id,
            u.id AS user_id,
            EXISTS (
                SELECT FROM rollout AS r
                WHERE
                    r.segment_id = $2::bigint
                    AND r.valid_to = $1::timestamptz
                    AND rollout_point(r.salt, u.id) <@ r.points
            )
            <> EXISTS (
                SELECT FROM rollout AS r
                WHERE
                    r.segment_id = $2::bigint
                    AND r.valid_from = $1::timestamptz
                    AND rollout_point(r.salt, u.id) <@ r.points
            ) AS applies
        FROM users AS u
        WHERE (SELECT g.moves_users FROM gate AS g) AND u.id > $3::bigint
        ORDER BY u.id
        LIMIT $4::bigint
    )
    UNION ALL
    (
        SELECT
            'seen' AS reason,
            $2::bigint AS segment_id,
            u.id AS user_id,
            exists(
                SELECT FROM rollout AS r
                WHERE
                    r.segment_id = $2::bigint
                    AND r.valid_from <= $1::timestamptz
                    AND r.valid_to > $1::timestamptz
                    AND rollout_point(r.salt, u.id) <@ r.points
            ) AS applies
        FROM users AS u
        WHERE
            (u.first_seen_at, u.id) > ($1::timestamptz, $3::bigint)
            AND u.first_seen_at <= $1::timestamptz
        ORDER BY u.first_seen_at, u.id
        LIMIT $4::bigint
    )
),

-- Scans that may have left users out, and the last user of each.
full_scan AS (
    SELECT
        c.reason,
        c.segment_id = $2::bigint AS is_here,
        max(c.user_id) AS user_id
    FROM scanned AS c
    GROUP BY c.reason, c.segment_id
    HAVING count(*) = $4::bigint
),

-- Until whom each reason was looked at. Users of another segment who are here by hand are found
-- from either side, so the side that is further counts.
progress AS MATERIALIZED (
    SELECT
        least(
            min(f.user_id) FILTER (WHERE f.is_here AND f.reason <> 'own'),
            CASE
                WHEN g.is_automatic OR (bool_or(f.reason = 'own') AND bool_or(NOT f.is_here))
                    THEN
                        greatest(
                            max(f.user_id) FILTER (WHERE f.reason = 'own' AND NOT g.is_automatic),
                            min(f.user_id) FILTER (WHERE NOT f.is_here)
                        )
            END
        ) AS scanned_until
    FROM gate AS g
    LEFT JOIN full_scan AS f ON TRUE
    GROUP BY g.is_automatic
),

candidate AS (
    SELECT DISTINCT c.user_id
    FROM scanned AS c
    CROSS JOIN progress AS p
    WHERE
        c.user_id <= coalesce(p.scanned_until, c.user_id)
        -- Of the last user, more rows may follow.
        AND (c.applies OR c.user_id = p.scanned_until)
),

event AS (
    SELECT
        e.at,
        s.id AS segment_id,
        c.user_id,
        s.slug,
        e.operation,
        e.cause,
        e.actor
    FROM candidate AS c
    INNER JOIN segment AS s ON s.id = $2::bigint
    INNER JOIN LATERAL (
        SELECT
            u.first_seen_at,
            (
                SELECT array_agg(m)
                FROM membership AS m
                WHERE m.user_id = c.user_id AND m.segment_id = s.id
            ) AS by_hand,
            (
                SELECT array_agg(r)
                FROM rollout AS r
                WHERE r.segment_id = s.id AND rollout_point(r.salt, c.user_id) <@ r.points
            ) AS rollouts,
            (
                SELECT array_agg(e)
                FROM elsewhere AS e
                WHERE e.user_id = c.user_id AND e.segment_id = s.id
            ) AS elsewhere
        FROM users AS u
        WHERE u.id = c.user_id
        -- The LIMIT keeps the planner from gathering them for each use in the function.
        LIMIT 1 -- noqa: AM09
    ) AS stored ON TRUE
    CROSS JOIN
        LATERAL stay_events(
            s, stored.first_seen_at, stored.by_hand, stored.rollouts, stored.elsewhere
        ) AS e
    WHERE e.at = $1::timestamptz
)

SELECT
    p.scanned_until,
    event.at,
    event.segment_id,
    event.user_id,
    event.slug,
    event.operation,
    event.cause,
    event.actor
FROM progress AS p
LEFT JOIN event ON TRUE
ORDER BY event.user_id
