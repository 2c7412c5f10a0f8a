-- sql/layers/find.sql
-- Finds the layer of a slug that is live at one time.
--
-- $1 slug text
-- $2 at   timestamptz, null for now
--
-- Returns: one row: id bigint, slug text, salt text, created_at timestamptz; or none
-- Locks:   none
-- Index:   none: the layers are few

SELECT
    l.id,
    l.slug,
    l.salt,
    l.created_at
FROM layer AS l
WHERE
    l.slug = $1::text
    AND l.deleted_at > coalesce($2::timestamptz, now())
    -- What is live now was created before now, unless the clock has stepped back since.
    AND l.created_at <= coalesce($2::timestamptz, 'infinity')
