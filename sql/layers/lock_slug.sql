-- sql/layers/lock_slug.sql
-- Serializes the creation, change and deletion of layers of one slug, until the commit.
--
-- $1 slug text
--
-- Returns: one row: slug_lock void
-- Locks:   an advisory lock of the transaction
-- Index:   none
--
-- The first number is the namespace of layers (the bytes "segl"); see segments/lock_slug. It is
-- taken before the locks of segments.

SELECT pg_advisory_xact_lock(
    1936026476, (hashtextextended($1::text, 0) & 255)::integer
) AS slug_lock
