-- sql/segments/list_live.sql
-- Lists live segments in the order of their slugs, from after a given one.
--
-- $1 after text, '' for the first page
-- $2 q     text, a part of the slug or the description, in any case; null for all
-- $3 limit bigint
--
-- Returns: a row each: slug text, description text, percent numeric, created_at timestamptz,
--          ends_at timestamptz, null without an end, layer text, null in none
-- Locks:   none
-- Index:   segment_slug_deleted_at_key

SELECT
    s.slug,
    s.description,
    r.percent,
    s.created_at,
    layer.slug AS layer,
    nullif(s.deleted_at, 'infinity') AS ends_at
FROM segment AS s
LEFT JOIN layer_segment AS l ON s.id = l.segment_id AND l.valid_to > now() AND l.valid_from <= now()
LEFT JOIN layer ON l.layer_id = layer.id
LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
WHERE
    s.deleted_at > now()
    AND s.slug > $1::text
    AND (
        strpos(lower(s.slug), lower(coalesce($2::text, ''))) > 0
        OR strpos(lower(s.description), lower(coalesce($2::text, ''))) > 0
    )
ORDER BY s.slug
LIMIT $3::bigint
