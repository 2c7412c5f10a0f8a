-- sql/members/analyze_unlisted.sql
-- Gives the planner the number of members who are not in a list. Needs: members/find_unlisted.
--
-- Returns: nothing
-- Locks:   the temporary table, which only this connection sees
-- Index:   none

ANALYZE unlisted (user_id)
