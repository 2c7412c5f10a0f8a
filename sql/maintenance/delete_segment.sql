-- sql/maintenance/delete_segment.sql
-- Deletes the row of a deleted segment that has neither periods nor rollouts.
--
-- $1 segment_id bigint
--
-- Returns: nothing
-- Locks:   the row
-- Index:   segment_pkey

DELETE FROM segment AS s
WHERE s.id = $1::bigint
