-- sql/users/lock_segments.sql
-- Locks segments, so that no file changes their members. Needs: users/list_segments.
--
-- $1 ids bigint[]
--
-- Returns: a row each: id bigint
-- Locks:   the segments FOR SHARE, in the order of their ids
-- Index:   segment_pkey

SELECT s.id
FROM segment AS s
WHERE s.id = ANY($1::bigint[])
ORDER BY s.id
FOR SHARE
