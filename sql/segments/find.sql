-- sql/segments/find.sql
-- Finds the segment of a slug that is live at one time.
--
-- $1 slug text
-- $2 at   timestamptz, null for now
--
-- Returns: one row: id bigint; or none
-- Locks:   none
-- Index:   segment_slug_deleted_at_key

SELECT s.id
FROM segment AS s
WHERE
    s.slug = $1::text
    AND s.deleted_at > coalesce($2::timestamptz, now())
    -- What is live now was created before now, unless the clock has stepped back since.
    AND s.created_at <= coalesce($2::timestamptz, 'infinity')
