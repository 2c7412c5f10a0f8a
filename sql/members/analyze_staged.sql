-- sql/members/analyze_staged.sql
-- Gives the planner the number of ids in a file, and of different ones. Needs: members/stage.
--
-- Returns: nothing
-- Locks:   the temporary table, which only this connection sees
-- Index:   none

ANALYZE staged (user_id)
