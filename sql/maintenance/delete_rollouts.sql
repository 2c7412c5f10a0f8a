-- sql/maintenance/delete_rollouts.sql
-- Deletes the rollouts that ended before a time; with a segment its rollout ends too.
--
-- $1 before timestamptz
--
-- Returns: nothing
-- Locks:   the rows it deletes, which nobody changes any more
-- Index:   none: the rollouts are few

DELETE FROM rollout AS r
WHERE r.valid_to < $1::timestamptz
