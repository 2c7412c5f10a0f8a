-- sql/segments/list_states.sql
-- Lists what the audit log compares of live segments, without the percentages.
-- Needs: segments/lock_slug.
--
-- $1 slugs text[]
-- $2 now   timestamptz, read after the slugs were locked
--
-- Returns: a row each: slug text, id bigint, description text, ends_at timestamptz, null without an
--          end, layer text, null in none
-- Locks:   none
-- Index:   segment_slug_deleted_at_key

SELECT
    s.slug,
    s.id,
    s.description,
    layer.slug AS layer,
    nullif(s.deleted_at, 'infinity') AS ends_at
FROM segment AS s
LEFT JOIN layer_segment AS l ON s.id = l.segment_id AND l.valid_to > $2::timestamptz
LEFT JOIN layer ON l.layer_id = layer.id
WHERE s.slug = ANY($1::text[]) AND s.deleted_at > $2::timestamptz
