-- sql/segments/lock_slug.sql
-- Makes those who create or delete a segment of this slug take turns until they commit.
--
-- $1 slug text
--
-- Returns: one row: slug_lock void
-- Locks:   transaction-level advisory lock on the hash of the slug
-- Index:   none
--
-- Without it, a creation that waits for the deletion of its namesake would have read the clock
-- before that deletion ended, and the lives of the two would overlap.

SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0)) AS slug_lock
