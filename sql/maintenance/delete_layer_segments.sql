-- sql/maintenance/delete_layer_segments.sql
-- Deletes the times of segments in layers that ended before a time.
--
-- $1 before timestamptz
--
-- Returns: nothing
-- Locks:   the rows it deletes, which no writer changes any more
-- Index:   none: they are few

DELETE FROM layer_segment AS l
WHERE l.valid_to < $1::timestamptz
