-- sql/members/list.sql
-- Lists the users who are in a segment now, in the order of their ids.
--
-- $1 segment_id bigint
-- $2 after      bigint, the last user of the page before; 0 for the first page
-- $3 limit      bigint, null for all
--
-- Returns: a row each: user_id bigint, source text, since text and expires_at text (RFC 3339)
-- Locks:   none
-- Index:   membership_segment_id_user_id_idx, users_pkey
--
-- Of an automatic segment these are also the known users who are in by percentage, found by
-- hashing each; the scalar subqueries keep a manual segment from reading any. Such a user is in
-- since three things all held: the user was known, the last period by hand was over, and the
-- percentages were high enough without a gap. They are looked for up to the last user by hand
-- of a full page, or else a page of users by hand would read all users who are known.

WITH past AS (
    SELECT
        r.threshold,
        r.valid_from,
        coalesce(
            r.valid_to = lag(r.valid_from) OVER newest_first,
            r.valid_to > now()
        ) AS goes_on
    FROM rollout AS r
    WHERE r.segment_id = $1::bigint AND r.valid_from <= now()
    WINDOW newest_first AS (ORDER BY r.valid_from DESC)
),

admission AS MATERIALIZED (
    SELECT
        past.valid_from,
        min(past.threshold) OVER newest_first AS threshold,
        bool_and(past.goes_on) OVER newest_first AS goes_on
    FROM past
    WINDOW newest_first AS (ORDER BY past.valid_from DESC)
),

named AS MATERIALIZED (
    SELECT
        s.slug,
        (
            SELECT max(a.threshold)
            FROM admission AS a
            WHERE a.goes_on
        ) AS threshold
    FROM segment AS s
    WHERE s.id = $1::bigint AND s.deleted_at > now() AND s.created_at <= now()
),

last_by_hand AS MATERIALIZED (
    SELECT max(page.user_id) AS user_id
    FROM (
        SELECT m.user_id
        FROM membership AS m
        WHERE
            m.segment_id = $1::bigint
            AND m.user_id > $2::bigint
            AND m.included
            AND m.valid_to > now()
            AND m.valid_from <= now()
            AND $3::bigint IS NOT NULL
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
            m.valid_from AS since,
            nullif(m.valid_to, 'infinity') AS expires_at
        FROM membership AS m
        WHERE
            m.segment_id = $1::bigint
            AND m.user_id > $2::bigint
            AND m.included
            AND m.valid_to > now()
            AND m.valid_from <= now()
            AND EXISTS (SELECT FROM named)
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
                (
                    SELECT min(a.valid_from)
                    FROM admission AS a
                    WHERE
                        a.goes_on
                        AND rollout_point((SELECT named.slug FROM named), u.id) < a.threshold
                )
            ) AS since,
            NULL AS expires_at
        FROM users AS u
        CROSS JOIN
            LATERAL (
                SELECT
                    max(m.valid_to) FILTER (WHERE m.valid_to <= now()) AS ended_at,
                    bool_or(m.valid_from <= now() AND m.valid_to > now()) AS decides
                FROM membership AS m
                WHERE m.segment_id = $1::bigint AND m.user_id = u.id
            ) AS by_hand
        WHERE
            u.id > $2::bigint
            AND u.first_seen_at <= now()
            AND u.id <= coalesce((SELECT l.user_id FROM last_by_hand AS l), 9223372036854775807)
            AND (SELECT named.threshold FROM named) > 0
            AND rollout_point((SELECT named.slug FROM named), u.id)
            < (SELECT named.threshold FROM named)
            AND by_hand.decides IS NOT TRUE
        ORDER BY u.id
        LIMIT $3::bigint
    )
) AS found
ORDER BY found.user_id
LIMIT $3::bigint
