-- sql/segments/get.sql
-- Describes one live segment, with the number of users who are in by hand now.
--
-- $1 slug text
--
-- Returns: one row: slug text, description text, percent numeric, created_at timestamptz,
--          members bigint; or none
-- Locks:   none
-- Index:   segment_deleted_at_slug_key, membership_segment_id_user_id_idx

SELECT
    s.slug,
    s.description,
    r.percent,
    s.created_at,
    (
        SELECT count(*)
        FROM membership AS m
        WHERE m.segment_id = s.id AND m.included AND m.valid_from <= now() AND m.valid_to > now()
    ) AS members
FROM segment AS s
LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
WHERE s.slug = $1::text AND s.deleted_at = 'infinity'
