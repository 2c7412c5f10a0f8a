-- sql/ofrep/list_live.sql
-- Lists all live segments in the order of their slugs, and whether each is automatic.
--
-- Returns: a row each: slug text, automatic boolean
-- Locks:   none
-- Index:   none, or segment_deleted_at_idx where most segments are deleted
--
-- An evaluation of all flags needs no other column of segments/list_live.

SELECT
    s.slug,
    r.segment_id IS NOT NULL AS automatic
FROM segment AS s
LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
WHERE s.deleted_at > now()
ORDER BY s.slug
