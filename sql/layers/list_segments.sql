-- sql/layers/list_segments.sql
-- Lists the segments of a live layer. Needs: layers/lock_slug.
--
-- $1 slug text, of the layer
--
-- Returns: a row each: id bigint, slug text
-- Locks:   none; the lock of the slug excludes others that put segments in or take them out
-- Index:   none: the layers are few

SELECT
    s.id,
    s.slug
FROM layer AS l
INNER JOIN layer_segment AS i ON l.id = i.layer_id
INNER JOIN segment AS s ON i.segment_id = s.id
WHERE
    l.slug = $1::text
    AND l.deleted_at = 'infinity'
    AND i.valid_to > clock_timestamp()
