-- sql/console/describe_segments.sql
-- Describes live segments for a list: members by hand, the next planned step, the last change.
--
-- $1 slugs text[]
--
-- Returns: a row each: slug text, members bigint; next_at timestamptz and next_percent numeric,
--          null without a plan; changed_at timestamptz, changed_by text and action text, null if no
--          change was recorded
-- Locks:   none
-- Index:   segment_slug_deleted_at_key, membership_segment_id_user_id_idx, audit_slug_id_idx
--
-- Members are counted up to a thousand: a list shows that there are more.

SELECT
    s.slug,
    step.valid_from AS next_at,
    step.percent AS next_percent,
    change.at AS changed_at,
    change.actor AS changed_by,
    change.action,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM membership AS m
            WHERE
                m.segment_id = s.id
                AND m.included
                AND m.valid_from <= now()
                AND m.valid_to > now()
            ORDER BY m.segment_id, m.user_id
            LIMIT 1001
        ) AS counted
    ) AS members
FROM segment AS s
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
WHERE s.slug = ANY($1::text[]) AND s.deleted_at > now()
