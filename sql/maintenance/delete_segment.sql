-- sql/maintenance/delete_segment.sql
-- Deletes the row of a segment that is no longer live and has neither periods nor rollouts.
--
-- $1 segment_id bigint
--
-- Returns: nothing
-- Locks:   the row
-- Index:   segment_pkey

DELETE FROM segment AS s
WHERE s.id = $1::bigint
