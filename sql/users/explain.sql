-- sql/users/explain.sql
-- Lists the live segments that a user is in, is suspended or excluded from now, and why.
--
-- $1 user_id bigint
--
-- Returns: a row each, in the order of the slugs: slug text, state text, by_hand boolean,
--          by_slug text: the segment of the layer that suspends this one, since timestamptz,
--          expires_at timestamptz, percent numeric, point bigint, actor text; percent and point
--          null in a manual segment
-- Locks:   none
-- Index:   membership_pkey, membership_segment_id_user_id_idx, segment_pkey, users_pkey
--
-- A user is in by hand since the period began, or since the last one elsewhere in the layer that
-- suspended it ended; by rollout since the start of the stay that covers now: the times of rollouts
-- that admit the user, from when the user was known, minus the times decided by hand here or
-- elsewhere in the layer. A stay is suspended from its start, or from the start of what suspends
-- it, whichever is later.

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

-- MATERIALIZED: found by the user.
kept_out AS MATERIALIZED (
    SELECT
        e.segment_id,
        e.by_segment_id,
        e.began_at,
        e.valid_from,
        e.valid_to
    FROM elsewhere AS e
    WHERE e.user_id = $1::bigint AND e.valid_from <= now()
),

-- What suspends each segment: of several, the one that began last.
suspending AS (
    SELECT DISTINCT ON (k.segment_id)
        k.segment_id,
        k.by_segment_id,
        k.began_at,
        k.valid_from,
        s.slug
    FROM kept_out AS k
    INNER JOIN segment AS s ON k.by_segment_id = s.id
    WHERE k.valid_to > now()
    ORDER BY k.segment_id ASC, k.began_at DESC, k.by_segment_id DESC
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
    CASE
        WHEN NOT by_hand.included THEN 'excluded'
        WHEN suspending.slug IS NOT NULL THEN 'suspended'
        ELSE 'included'
    END AS state,
    TRUE AS by_hand,
    suspending.slug AS by_slug,
    greatest(
        by_hand.valid_from,
        suspending.valid_from,
        (
            SELECT max(k.valid_to)
            FROM kept_out AS k
            WHERE
                k.segment_id = by_hand.segment_id
                AND by_hand.included
                AND (k.began_at, k.by_segment_id) > (by_hand.valid_from, by_hand.segment_id)
                AND k.valid_to <= now()
        )
    ) AS since,
    nullif(by_hand.valid_to, 'infinity') AS expires_at,
    r.percent,
    rollout_point(r.salt, $1::bigint) AS point,
    by_hand.opened_by AS actor
FROM by_hand
INNER JOIN segment AS s ON by_hand.segment_id = s.id
LEFT JOIN rollout AS r
    ON by_hand.segment_id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
LEFT JOIN suspending
    ON
        by_hand.segment_id = suspending.segment_id
        AND by_hand.included
        AND (suspending.began_at, suspending.by_segment_id)
        > (by_hand.valid_from, by_hand.segment_id)
WHERE s.deleted_at > now() AND s.created_at <= now()
UNION ALL
SELECT
    by_rollout.slug,
    CASE WHEN suspending.slug IS NULL THEN 'included' ELSE 'suspended' END AS state,
    FALSE AS by_hand,
    suspending.slug AS by_slug,
    greatest(lower(stay.period), suspending.valid_from) AS since,
    NULL AS expires_at,
    by_rollout.percent,
    by_rollout.point,
    by_rollout.opened_by AS actor
FROM by_rollout
LEFT JOIN suspending ON by_rollout.segment_id = suspending.segment_id
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
        - coalesce(
            (
                SELECT range_agg(tstzrange(k.valid_from, k.valid_to))
                FROM kept_out AS k
                WHERE k.segment_id = by_rollout.segment_id AND k.valid_to <= now()
            ),
            '{}'
        )
    ) AS stay (period)
WHERE stay.period @> now()
ORDER BY slug
