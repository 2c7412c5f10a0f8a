-- sql/ofrep/evaluate_all.sql
-- Evaluates all live segments for each of some users.
--
-- $1 user_ids bigint[]
--
-- Returns: a row for each user, in the order asked: known boolean: whether the user is registered;
--          slugs text[] of all live segments, sorted bytewise, and for each of them: automatic
--          boolean[]; by_hand boolean[]: whether an included period covers now; member boolean[];
--          null if no segment is live
-- Locks:   none
-- Index:   membership_pkey, users_pkey
--
-- It is the rule of users/list_at, whose header explains its parts.

-- MATERIALIZED: once a query, not once a user.
WITH live AS MATERIALIZED (
    SELECT
        s.id,
        s.slug,
        r.salt,
        r.points,
        r.threshold,
        l.layer_id,
        r.segment_id IS NOT NULL AS automatic
    FROM segment AS s
    LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
    LEFT JOIN layer_segment AS l
        ON s.id = l.segment_id AND l.valid_to > now() AND l.valid_from <= now()
    WHERE s.deleted_at > now() AND s.created_at <= now()
),

-- MATERIALIZED: found by the users.
by_hand AS MATERIALIZED (
    SELECT
        m.user_id,
        m.segment_id,
        m.included,
        m.valid_from
    FROM membership AS m
    WHERE m.user_id = ANY($1::bigint[]) AND m.valid_to > now() AND m.valid_from <= now()
),

-- What each user has by hand in layers, and the segments of it that count.
held AS MATERIALIZED (
    SELECT
        latest.user_id,
        array_agg(latest.layer_id) AS layer_ids,
        array_agg(latest.segment_id) AS segment_ids
    FROM (
        SELECT DISTINCT ON (m.user_id, live.layer_id)
            m.user_id,
            live.layer_id,
            m.segment_id
        FROM by_hand AS m
        INNER JOIN live ON m.segment_id = live.id
        WHERE m.included AND live.layer_id IS NOT NULL
        ORDER BY m.user_id ASC, live.layer_id ASC, m.valid_from DESC, m.segment_id DESC
    ) AS latest
    GROUP BY latest.user_id
)

SELECT
    flag.slugs,
    flag.automatic,
    flag.by_hand,
    flag.member,
    u.id IS NOT NULL AS known
FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (user_id, ordinal)
LEFT JOIN users AS u ON asked.user_id = u.id
LEFT JOIN held ON asked.user_id = held.user_id
CROSS JOIN
    LATERAL (
        SELECT
            array_agg(live.slug ORDER BY live.slug) AS slugs,
            array_agg(live.automatic ORDER BY live.slug) AS automatic,
            array_agg(coalesce(m.included, FALSE) ORDER BY live.slug) AS by_hand,
            array_agg(
                CASE
                    WHEN m.segment_id IS NOT NULL THEN m.included
                    WHEN NOT live.automatic THEN FALSE
                    WHEN live.threshold IS NULL
                        THEN rollout_point(live.salt, asked.user_id) <@ live.points
                    ELSE rollout_point(live.salt, asked.user_id) < live.threshold
                END
                AND (live.layer_id = ANY(held.layer_ids) AND live.id <> ALL(held.segment_ids))
                IS NOT TRUE
                ORDER BY live.slug
            ) AS member
        FROM live
        LEFT JOIN by_hand AS m ON asked.user_id = m.user_id AND live.id = m.segment_id
    ) AS flag
ORDER BY asked.ordinal
