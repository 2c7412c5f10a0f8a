-- sql/maintenance/delete_rollouts.sql
-- Deletes the rollouts that ended before a time. The rollout of a deleted segment has ended too.
--
-- $1 before timestamptz
--
-- Returns: nothing
-- Locks:   the rows it deletes, which no writer changes any more
-- Index:   none: the rollouts are few

DELETE FROM rollout AS r
WHERE r.valid_to < $1::timestamptz
