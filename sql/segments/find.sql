-- sql/segments/find.sql
-- Finds a live segment.
--
-- $1 slug text
--
-- Returns: one row: id bigint; or none
-- Locks:   none
-- Index:   segment_deleted_at_slug_key

SELECT s.id
FROM segment AS s
WHERE s.slug = $1::text AND s.deleted_at = 'infinity'
