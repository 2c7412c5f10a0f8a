-- sql/segments/lock_slug.sql
-- Makes those who create, change or delete a segment of this slug take turns until they commit.
--
-- $1 slug text
--
-- Returns: one row: slug_lock void
-- Locks:   transaction-level advisory lock on one of 256 buckets, by the hash of the slug; those
--          who change members share it
-- Index:   none
--
-- Without it, a creation that waits for the deletion of its namesake would have read the clock
-- before that deletion ended, and the lives of the two would overlap. And a change of a segment
-- would never get its turn while members come and go without a pause: row locks are granted to
-- those who can share them at once, past those who wait; advisory locks are granted in turn.

SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0) & 255) AS slug_lock
