-- sql/layers/list_live.sql
-- Lists live layers in the order of their slugs, from after a given one, with their segments.
--
-- $1 after text, '' for the first page
-- $2 limit bigint
--
-- Returns: a row each: slug text, created_at timestamptz, segments text[], their slugs, sorted
--          bytewise
-- Locks:   none
-- Index:   none: the layers are few

SELECT
    l.slug,
    l.created_at,
    ARRAY(
        SELECT s.slug
        FROM layer_segment AS i
        INNER JOIN segment AS s ON i.segment_id = s.id
        WHERE i.layer_id = l.id AND i.valid_to > now() AND i.valid_from <= now()
        ORDER BY s.slug
    ) AS segments
FROM layer AS l
WHERE l.deleted_at = 'infinity' AND l.slug > $1::text
ORDER BY l.slug
LIMIT $2::bigint
