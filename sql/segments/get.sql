-- sql/segments/get.sql
-- Describes a segment as of one time, with the number of users who are in by hand then.
--
-- $1 slug text
-- $2 at   timestamptz, null for now
--
-- Returns: one row: slug text, description text, percent numeric, created_at timestamptz,
--          ends_at timestamptz, null without an end, layer text, null in none, members bigint;
--          or none
-- Locks:   none
-- Index:   segment_slug_deleted_at_key, membership_segment_id_user_id_idx
--
-- Who is suspended by another segment of the layer is not in.

SELECT
    s.slug,
    s.description,
    r.percent,
    s.created_at,
    layer.slug AS layer,
    nullif(s.deleted_at, 'infinity') AS ends_at,
    (
        SELECT count(*)
        FROM membership AS m
        WHERE
            m.segment_id = s.id
            AND m.included
            AND m.valid_from <= coalesce($2::timestamptz, now())
            AND m.valid_to > coalesce($2::timestamptz, now())
    ) - (
        SELECT count(*)
        FROM membership AS m
        WHERE
            l.layer_id IS NOT NULL
            AND m.segment_id = s.id
            AND m.included
            AND m.valid_from <= coalesce($2::timestamptz, now())
            AND m.valid_to > coalesce($2::timestamptz, now())
            AND EXISTS (
                SELECT FROM elsewhere AS e
                WHERE
                    e.user_id = m.user_id
                    AND e.segment_id = s.id
                    AND e.valid_from <= coalesce($2::timestamptz, now())
                    AND e.valid_to > coalesce($2::timestamptz, now())
                    AND (e.began_at, e.by_segment_id) > (m.valid_from, m.segment_id)
            )
    ) AS members
FROM segment AS s
LEFT JOIN layer_segment AS l
    ON
        s.id = l.segment_id
        AND l.valid_to > coalesce($2::timestamptz, now())
        AND l.valid_from <= coalesce($2::timestamptz, now())
LEFT JOIN layer ON l.layer_id = layer.id
LEFT JOIN rollout AS r
    ON
        s.id = r.segment_id
        AND r.valid_to > coalesce($2::timestamptz, now())
        AND r.valid_from <= coalesce($2::timestamptz, now())
WHERE
    s.slug = $1::text
    AND s.deleted_at > coalesce($2::timestamptz, now())
    AND s.created_at <= coalesce($2::timestamptz, 'infinity') -- as in segments/find
