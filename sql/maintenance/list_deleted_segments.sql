-- sql/maintenance/list_deleted_segments.sql
-- Lists the segments that were deleted before a time.
--
-- $1 before timestamptz
--
-- Returns: a row each: id bigint
-- Locks:   none
-- Index:   segment_deleted_at_idx

SELECT s.id
FROM segment AS s
WHERE s.deleted_at < $1::timestamptz
