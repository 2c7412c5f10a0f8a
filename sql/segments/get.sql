-- sql/segments/get.sql
-- Describes a segment as of one time, with the number of users who are in by hand then.
--
-- $1 slug text
-- $2 at   timestamptz, null for now
--
-- Returns: one row: slug text, description text, percent numeric, created_at timestamptz,
--          ends_at timestamptz, null without an end, members bigint; or none
-- Locks:   none
-- Index:   segment_slug_deleted_at_key, membership_segment_id_user_id_idx

SELECT
    s.slug,
    s.description,
    r.percent,
    s.created_at,
    nullif(s.deleted_at, 'infinity') AS ends_at,
    (
        SELECT count(*)
        FROM membership AS m
        WHERE
            m.segment_id = s.id
            AND m.included
            AND m.valid_from <= coalesce($2::timestamptz, now())
            AND m.valid_to > coalesce($2::timestamptz, now())
    ) AS members
FROM segment AS s
LEFT JOIN rollout AS r
    ON
        s.id = r.segment_id
        AND r.valid_to > coalesce($2::timestamptz, now())
        AND r.valid_from <= coalesce($2::timestamptz, now())
WHERE
    s.slug = $1::text
    AND s.deleted_at > coalesce($2::timestamptz, now())
    AND s.created_at <= coalesce($2::timestamptz, 'infinity') -- as in segments/find
