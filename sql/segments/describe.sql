-- sql/segments/describe.sql
-- Changes the description of a segment. Needs: segments/lock.
--
-- $1 id          bigint
-- $2 description text
--
-- Returns: nothing
-- Locks:   the segment
-- Index:   segment_pkey

UPDATE segment AS s
SET description = $2::text
WHERE s.id = $1::bigint AND s.description <> $2::text
