-- sql/maintenance/delete_layers.sql
-- Deletes the layers that were deleted before a time. Needs: maintenance/delete_layer_segments.
--
-- $1 before timestamptz
--
-- Returns: nothing
-- Locks:   the rows it deletes, which no writer changes any more
-- Index:   none: the layers are few

DELETE FROM layer AS l
WHERE l.deleted_at < $1::timestamptz
