-- sql/console/describe_segments.sql
-- Describes live segments for a list: members by hand, the next planned step, the last change.
--
-- $1 slugs text[]
--
-- Returns: a row each: slug text, members bigint, more boolean; next_at timestamptz and
--          next_percent numeric, null without a plan; changed_at timestamptz, changed_by text and
--          action text, null if no change was recorded
-- Locks:   none
-- Index:   segment_slug_deleted_at_key, membership_segment_id_user_id_idx, audit_slug_id_idx
--
-- Who is suspended by another segment of the layer is not in. Of the members by hand the first
-- 1,001 are looked at: if there are more than a thousand, members is the least that there are.
--
-- Each segment of the layer is searched once for all these users. Fifty segments of 20,000 took
-- 7 ms outside layers, 41 ms in layers of five and 105 ms in one layer; on PostgreSQL 15, which
-- descends the index for each user, 8 ms, 216 ms and 1.6 s. With a subquery for each user, as in
-- segments/get, they took 7, 480 and 584 ms, and fifty segments of the same users took 22 s instead
-- of 1.0 (PostgreSQL 18, two cores).

-- MATERIALIZED: the users are looked for once.
WITH listed AS MATERIALIZED (
    SELECT
        s.id,
        s.slug,
        l.layer_id,
        ARRAY(
            SELECT first.user_id
            FROM (
                SELECT m.user_id
                FROM membership AS m
                WHERE
                    m.segment_id = s.id
                    AND m.included
                    AND m.valid_from <= now()
                    AND m.valid_to > now()
                ORDER BY m.segment_id, m.user_id
                LIMIT 1001
            ) AS first
        ) AS user_ids
    FROM segment AS s
    LEFT JOIN layer_segment AS l
        ON s.id = l.segment_id AND l.valid_to > now() AND l.valid_from <= now()
    WHERE s.slug = ANY($1::text[]) AND s.deleted_at > now()
)

SELECT
    s.slug,
    step.valid_from AS next_at,
    step.percent AS next_percent,
    change.at AS changed_at,
    change.actor AS changed_by,
    change.action,
    cardinality(s.user_ids) > 1000 AS more,
    least(
        1000,
        cardinality(s.user_ids) - (
            SELECT count(*)
            FROM (
                -- When the user's period here began, and the last ones in segments of smaller and
                -- larger ids: of two that began together, the larger id counts.
                SELECT
                    max(m.valid_from) FILTER (WHERE one.segment_id = s.id) AS here,
                    max(m.valid_from) FILTER (WHERE one.segment_id < s.id) AS smaller,
                    max(m.valid_from) FILTER (WHERE one.segment_id > s.id) AS larger
                FROM layer_segment AS one
                CROSS JOIN
                    LATERAL (
                        SELECT
                            m.user_id,
                            m.valid_from
                        FROM membership AS m
                        WHERE
                            m.segment_id = one.segment_id
                            AND m.user_id = ANY(s.user_ids)
                            AND m.included
                            AND m.valid_from <= now()
                            AND m.valid_to > now()
                        -- The LIMIT keeps the planner from joining the tables first.
                        LIMIT 1001 -- noqa: AM09
                    ) AS m
                WHERE
                    one.layer_id = s.layer_id
                    AND one.valid_to > now()
                    AND one.valid_from <= now()
                GROUP BY m.user_id
            ) AS began
            WHERE began.smaller > began.here OR began.larger >= began.here
        )
    ) AS members
FROM listed AS s
LEFT JOIN LATERAL (
    SELECT
        r.valid_from,
        r.percent
    FROM rollout AS r
    WHERE r.segment_id = s.id AND r.valid_from > now()
    ORDER BY r.valid_from
    LIMIT 1
) AS step ON TRUE
LEFT JOIN LATERAL (
    SELECT
        a.at,
        a.actor,
        a.action
    FROM audit AS a
    WHERE a.slug = s.slug
    ORDER BY a.id DESC
    LIMIT 1
) AS change ON TRUE
