-- sql/events/list_segments.sql
-- Lists all lives of some slugs.
--
-- $1 slugs text[]
--
-- Returns: a row each: id bigint, slug text, created_at timestamptz
-- Locks:   none
-- Index:   segment_slug_deleted_at_key

SELECT
    s.id,
    s.slug,
    s.created_at
FROM segment AS s
WHERE s.slug = ANY($1::text[])
