-- sql/events/get_pruned.sql
-- Returns the time before which events may be gone.
--
-- Returns: one row: pruned_before timestamptz, null if everything is there; or none
-- Locks:   none
-- Index:   none: it has one row
--
-- It is read after a page: prune stores the time before it deletes.

SELECT nullif(f.pruned_before, '-infinity') AS pruned_before
FROM feed AS f
