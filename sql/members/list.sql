-- sql/members/list.sql
-- Lists the users who are in a segment at one time, in the order of their ids.
--
-- $1 segment_id bigint
-- $2 after      bigint, the last user of the page before; 0 for the first page
-- $3 limit      bigint, null for all
-- $4 at         timestamptz, null for now
-- $5 source     text, manual or rollout; null for both
--
-- Returns: a row each: user_id bigint, source text, since text and expires_at text (RFC 3339)
-- Locks:   none
-- Index:   membership_segment_id_user_id_idx, users_pkey
--
-- Who is by hand in another segment of the layer is not in by percentage, and by hand only if that
-- began before.
--
-- In an automatic segment these include the known users who are in by percentage, found by hashing
-- each known user. In a manual segment no user is read: the scalar subqueries are evaluated first.
-- A user is in by percentage since the latest of three times: the user became known, the last
-- period by hand ended, and the rollouts admit the user from then on without a gap.

-- What is elsewhere in a layer is looked for only if the segment was ever in one.
WITH gate AS MATERIALIZED (
    SELECT
        exists(
            SELECT FROM layer_segment AS l
            WHERE l.segment_id = $1::bigint
        ) AS in_layer
),

past_rollout AS (
    SELECT
        r.salt,
        r.points,
        r.valid_from,
        r.salt <> lag(r.salt, 1, r.salt) OVER newest_first AS deals_anew,
        coalesce(
            r.valid_to = lag(r.valid_from) OVER newest_first,
            r.valid_to > coalesce($4::timestamptz, now())
        ) AS continues
    FROM rollout AS r
    WHERE r.segment_id = $1::bigint AND r.valid_from <= coalesce($4::timestamptz, now())
    WINDOW newest_first AS (ORDER BY r.valid_from DESC)
),

-- A segment that enters a layer or leaves it deals its points anew, by another salt.
dealt AS (
    SELECT
        past.salt,
        past.points,
        past.valid_from,
        bool_and(past.continues) OVER newest_first AS continues,
        count(*) FILTER (WHERE past.deals_anew) OVER newest_first AS deal
    FROM past_rollout AS past
    WINDOW newest_first AS (ORDER BY past.valid_from DESC)
),

-- The points of one deal that are admitted from valid_from until its end, if no gap follows.
-- MATERIALIZED: the window functions run once, not once a user.
admission AS MATERIALIZED (
    SELECT
        d.deal,
        d.salt,
        d.valid_from,
        d.continues,
        range_intersect_agg(d.points) OVER (
            PARTITION BY d.deal ORDER BY d.valid_from DESC
        ) AS points,
        d.valid_from = min(d.valid_from) OVER (PARTITION BY d.deal) AS is_first
    FROM dealt AS d
),

-- The rollout in force then: no row if there is none, or if the segment is not live.
in_force AS MATERIALIZED (
    SELECT
        a.salt,
        a.points
    FROM admission AS a
    WHERE
        a.continues
        AND EXISTS (
            SELECT FROM segment AS s
            WHERE
                s.id = $1::bigint
                AND s.deleted_at > coalesce($4::timestamptz, now())
                AND s.created_at <= coalesce($4::timestamptz, now())
        )
    ORDER BY a.valid_from DESC
    LIMIT 1
),

-- The last user by hand of a full page: users by percentage are searched no further. Without it, a
-- page of users by hand would read all known users.
last_by_hand AS MATERIALIZED (
    SELECT max(page.user_id) AS user_id
    FROM (
        SELECT m.user_id
        FROM membership AS m
        CROSS JOIN
            LATERAL (
                SELECT
                    max(e.valid_to) FILTER (
                        WHERE e.valid_to <= coalesce($4::timestamptz, now())
                    ) AS ended_at,
                    bool_or(
                        e.valid_from <= coalesce($4::timestamptz, now())
                        AND e.valid_to > coalesce($4::timestamptz, now())
                    ) AS holds
                FROM elsewhere AS e
                WHERE
                    (SELECT g.in_layer FROM gate AS g)
                    AND e.segment_id = $1::bigint
                    AND e.user_id = m.user_id
                    AND (e.began_at, e.by_segment_id) > (m.valid_from, m.segment_id)
            ) AS later
        WHERE
            m.segment_id = $1::bigint
            AND m.user_id > $2::bigint
            AND m.included
            AND m.valid_to > coalesce($4::timestamptz, now())
            AND m.valid_from <= coalesce($4::timestamptz, now())
            AND $3::bigint IS NOT NULL
            AND $5::text IS NULL
            AND later.holds IS NOT TRUE
        ORDER BY m.user_id
        LIMIT $3::bigint
    ) AS page
    HAVING count(*) = $3::bigint
)

SELECT
    found.user_id,
    found.source,
    to_char(found.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS since,
    to_char(found.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS expires_at
FROM (
    (
        SELECT
            m.user_id,
            'manual' AS source,
            greatest(m.valid_from, later.ended_at) AS since,
            nullif(m.valid_to, 'infinity') AS expires_at
        FROM membership AS m
        CROSS JOIN
            LATERAL (
                SELECT
                    max(e.valid_to) FILTER (
                        WHERE e.valid_to <= coalesce($4::timestamptz, now())
                    ) AS ended_at,
                    bool_or(
                        e.valid_from <= coalesce($4::timestamptz, now())
                        AND e.valid_to > coalesce($4::timestamptz, now())
                    ) AS holds
                FROM elsewhere AS e
                WHERE
                    (SELECT g.in_layer FROM gate AS g)
                    AND e.segment_id = $1::bigint
                    AND e.user_id = m.user_id
                    AND (e.began_at, e.by_segment_id) > (m.valid_from, m.segment_id)
            ) AS later
        WHERE
            m.segment_id = $1::bigint
            AND m.user_id > $2::bigint
            AND m.included
            AND m.valid_to > coalesce($4::timestamptz, now())
            AND m.valid_from <= coalesce($4::timestamptz, now())
            AND EXISTS (
                SELECT FROM segment AS s
                WHERE
                    s.id = $1::bigint
                    AND s.deleted_at > coalesce($4::timestamptz, now())
                    AND s.created_at <= coalesce($4::timestamptz, now())
            )
            AND coalesce($5::text, 'manual') = 'manual'
            AND later.holds IS NOT TRUE
        ORDER BY m.user_id
        LIMIT $3::bigint
    )
    UNION ALL
    (
        SELECT
            u.id AS user_id,
            'rollout' AS source,
            greatest(
                u.first_seen_at,
                by_hand.ended_at,
                other.ended_at,
                (
                    SELECT min(a.valid_from)
                    FROM admission AS a
                    WHERE
                        a.continues
                        AND rollout_point(a.salt, u.id) <@ a.points
                        AND NOT EXISTS (
                            SELECT FROM admission AS later
                            WHERE
                                later.deal < a.deal
                                AND later.is_first
                                AND NOT rollout_point(later.salt, u.id) <@ later.points
                        )
                )
            ) AS since,
            NULL AS expires_at
        FROM users AS u
        CROSS JOIN
            LATERAL (
                SELECT
                    max(m.valid_to) FILTER (
                        WHERE m.valid_to <= coalesce($4::timestamptz, now())
                    ) AS ended_at,
                    bool_or(
                        m.valid_from <= coalesce($4::timestamptz, now())
                        AND m.valid_to > coalesce($4::timestamptz, now())
                    ) AS decides
                FROM membership AS m
                WHERE m.segment_id = $1::bigint AND m.user_id = u.id
            ) AS by_hand
        CROSS JOIN
            LATERAL (
                SELECT
                    max(e.valid_to) FILTER (
                        WHERE e.valid_to <= coalesce($4::timestamptz, now())
                    ) AS ended_at,
                    bool_or(
                        e.valid_from <= coalesce($4::timestamptz, now())
                        AND e.valid_to > coalesce($4::timestamptz, now())
                    ) AS holds
                FROM elsewhere AS e
                WHERE
                    (SELECT g.in_layer FROM gate AS g)
                    AND e.segment_id = $1::bigint
                    AND e.user_id = u.id
            ) AS other
        WHERE
            u.id > $2::bigint
            AND u.first_seen_at <= coalesce($4::timestamptz, now())
            AND u.id <= coalesce((SELECT l.user_id FROM last_by_hand AS l), 9223372036854775807)
            AND (SELECT NOT isempty(f.points) FROM in_force AS f)
            AND rollout_point((SELECT f.salt FROM in_force AS f), u.id)
            <@ (SELECT f.points FROM in_force AS f)
            AND coalesce($5::text, 'rollout') = 'rollout'
            AND by_hand.decides IS NOT TRUE
            AND other.holds IS NOT TRUE
        ORDER BY u.id
        LIMIT $3::bigint
    )
) AS found
ORDER BY found.user_id
LIMIT $3::bigint
