-- sql/users/list_free.sql
-- Lists which live segments a change of a user could lock at once.
--
-- $1 slugs text[]
--
-- Returns: a row each: slug text
-- Locks:   what it lists, until the end of the transaction: the slugs, shared, and the segments
--          FOR SHARE
-- Index:   segment_slug_deleted_at_key
--
-- It waits for nothing: what a file, a change or a deletion of the segment holds is left out.

SELECT s.slug
FROM segment AS s
WHERE
    s.slug = ANY($1::text[])
    AND s.deleted_at > now()
    AND pg_try_advisory_xact_lock_shared(
        1936026483, (hashtextextended(s.slug, 0) & 255)::integer
    )
FOR SHARE SKIP LOCKED
