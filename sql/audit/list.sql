-- sql/audit/list.sql
-- Lists a page of the audit log, the newest row first.
--
-- $1 after bigint, the last id of the page before; null for the first page
-- $2 slug  text, null for all
-- $3 actor text, null for all
-- $4 limit bigint
--
-- Returns: a row each: id bigint, at timestamptz, actor text, request_id text, action text,
--          slug text, details json
-- Locks:   none
-- Index:   audit_slug_id_idx
--
-- It is planned for its values, because the CASE is then one comparison, or none.

SELECT
    a.id,
    a.at,
    a.actor,
    a.request_id,
    a.action,
    a.slug,
    a.details
FROM audit AS a
WHERE
    a.id < coalesce($1::bigint, 9223372036854775807)
    AND CASE WHEN $2::text IS NOT NULL THEN a.slug = $2::text ELSE TRUE END
    AND CASE WHEN $3::text IS NOT NULL THEN a.actor = $3::text ELSE TRUE END
ORDER BY a.id DESC
LIMIT $4::bigint
