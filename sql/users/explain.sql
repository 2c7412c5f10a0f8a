-- sql/users/explain.sql
-- Lists the live segments that a user is in or is excluded from now, and why.
--
-- $1 user_id bigint
--
-- Returns: a row each, in the order of the slugs: slug text, included boolean, by_hand boolean,
--          since timestamptz, expires_at timestamptz, percent numeric, point bigint,
--          actor text; percent and point null in a manual segment
-- Locks:   none
-- Index:   membership_pkey, membership_segment_id_user_id_idx, segment_pkey, users_pkey
--
-- A user is in by rollout since the start of the stay that covers now: the times of rollouts that
-- admit the user, from when the user was known, minus the times decided by hand.

WITH by_hand AS (
    SELECT
        m.segment_id,
        m.included,
        m.valid_from,
        m.valid_to,
        m.opened_by
    FROM membership AS m
    WHERE m.user_id = $1::bigint AND m.valid_to > now() AND m.valid_from <= now()
),

by_rollout AS (
    SELECT
        r.segment_id,
        s.slug,
        r.percent,
        r.opened_by,
        rollout_point(r.salt, $1::bigint) AS point
    FROM rollout AS r
    INNER JOIN segment AS s ON r.segment_id = s.id
    WHERE
        r.valid_to > now()
        AND r.valid_from <= now()
        AND s.deleted_at > now()
        AND s.created_at <= now()
        AND rollout_point(r.salt, $1::bigint) <@ r.points
)

SELECT
    s.slug,
    by_hand.included,
    TRUE AS by_hand,
    by_hand.valid_from AS since,
    nullif(by_hand.valid_to, 'infinity') AS expires_at,
    r.percent,
    rollout_point(r.salt, $1::bigint) AS point,
    by_hand.opened_by AS actor
FROM by_hand
INNER JOIN segment AS s ON by_hand.segment_id = s.id
LEFT JOIN rollout AS r
    ON by_hand.segment_id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
WHERE s.deleted_at > now() AND s.created_at <= now()
UNION ALL
SELECT
    by_rollout.slug,
    TRUE AS included,
    FALSE AS by_hand,
    lower(stay.period) AS since,
    NULL AS expires_at,
    by_rollout.percent,
    by_rollout.point,
    by_rollout.opened_by AS actor
FROM by_rollout
CROSS JOIN
    LATERAL unnest(
        (
            SELECT range_agg(tstzrange(past.valid_from, past.valid_to))
            FROM rollout AS past
            WHERE
                past.segment_id = by_rollout.segment_id
                AND rollout_point(past.salt, $1::bigint) <@ past.points
        )
        * tstzmultirange(
            tstzrange(
                coalesce((
                    SELECT u.first_seen_at FROM users AS u
                    WHERE u.id = $1::bigint
                ), now()),
                'infinity'
            )
        )
        - coalesce(
            (
                SELECT range_agg(tstzrange(m.valid_from, m.valid_to))
                FROM membership AS m
                WHERE m.user_id = $1::bigint AND m.segment_id = by_rollout.segment_id
            ),
            '{}'
        )
    ) AS stay (period)
WHERE stay.period @> now()
ORDER BY slug
