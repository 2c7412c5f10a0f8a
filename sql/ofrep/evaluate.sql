-- sql/ofrep/evaluate.sql
-- Evaluates one segment for each of some users: is the user in, and by what.
--
-- $1 user_ids bigint[]
-- $2 slugs    text[], one for each of them
--
-- Returns: a row for each pair, in the order asked: live boolean, automatic boolean,
--          by_hand boolean: whether an included period covers now, member boolean,
--          known boolean: whether the user is registered; all but known null or false if no live
--          segment has the slug
-- Locks:   none
-- Index:   segment_slug_deleted_at_key, membership_segment_id_user_id_idx, membership_pkey,
--          users_pkey
--
-- It is the rule of users/list_at for one segment, so it computes one point at most. At most one
-- period of a user and a segment covers now, so each pair has one row.

SELECT
    s.id IS NOT NULL AS live,
    r.segment_id IS NOT NULL AS automatic,
    coalesce(m.included, FALSE) AS by_hand,
    CASE
        WHEN m.segment_id IS NOT NULL THEN m.included
        WHEN r.segment_id IS NULL THEN FALSE
        WHEN r.threshold IS NULL THEN rollout_point(r.salt, asked.user_id) <@ r.points
        ELSE rollout_point(r.salt, asked.user_id) < r.threshold
    END
    -- In a layer, the included period elsewhere that began later counts, and any of them before a
    -- rollout.
    AND CASE
        WHEN l.layer_id IS NULL THEN TRUE
        ELSE NOT EXISTS (
            SELECT FROM layer_segment AS other
            INNER JOIN membership AS elsewhere
                ON
                    other.segment_id = elsewhere.segment_id
                    AND elsewhere.user_id = asked.user_id
                    AND elsewhere.included
                    AND elsewhere.valid_to > now()
                    AND elsewhere.valid_from <= now()
            WHERE
                other.layer_id = l.layer_id
                AND other.segment_id <> s.id
                AND other.valid_to > now()
                AND other.valid_from <= now()
                AND (elsewhere.valid_from, elsewhere.segment_id)
                > (coalesce(m.valid_from, '-infinity'), s.id)
        )
    END AS member,
    u.id IS NOT NULL AS known
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (user_id, slug, ordinal)
LEFT JOIN users AS u ON asked.user_id = u.id
LEFT JOIN segment AS s ON asked.slug = s.slug AND s.deleted_at > now() AND s.created_at <= now()
LEFT JOIN layer_segment AS l
    ON s.id = l.segment_id AND l.valid_to > now() AND l.valid_from <= now()
LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
LEFT JOIN membership AS m
    ON
        asked.user_id = m.user_id
        AND s.id = m.segment_id
        AND m.valid_to > now()
        AND m.valid_from <= now()
ORDER BY asked.ordinal
