-- sql/members/unlock_slugs.sql
-- Gives back what members/lock_slugs has locked.
--
-- $1 buckets integer[]
--
-- Returns: a row each: unlocked boolean
-- Locks:   none
-- Index:   none

SELECT pg_advisory_unlock(1936026483, slug.bucket) AS unlocked
FROM unnest($1::integer[]) AS slug (bucket)
