-- sql/members/analyze_staged.sql
-- Tells the planner how many ids a file holds, and how many of them are different.
-- Needs: members/stage.
--
-- Returns: nothing
-- Locks:   none that matter: the table is this connection's own
-- Index:   none

ANALYZE staged (user_id)
