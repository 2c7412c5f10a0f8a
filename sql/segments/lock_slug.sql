-- sql/segments/lock_slug.sql
-- Serializes the creation, change and deletion of segments of one slug, until the commit.
--
-- $1 slug text
--
-- Returns: one row: slug_lock void
-- Locks:   an advisory lock of the transaction; changes of members take the same lock, shared
-- Index:   none
--
-- The key is (1936026483, bucket). The first number is the namespace of segsvc (the bytes "segs"),
-- so that other programs on the database do not take the same locks. The second is one of 256
-- buckets, by the hash of the slug: a request with a thousand slugs takes 256 locks at most.
--
-- Without this lock, two things go wrong. A creation that waits for the deletion of the same slug
-- has read the clock before the deletion, so the two lives overlap. And a change of a segment
-- never gets its lock while members are added all the time: PostgreSQL grants a row lock to a
-- new sharer before a waiting exclusive locker, but grants advisory locks in their order.

SELECT pg_advisory_xact_lock(
    1936026483, (hashtextextended($1::text, 0) & 255)::integer
) AS slug_lock
