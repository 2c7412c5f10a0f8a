-- sql/members/stage.sql
-- Makes room for the user ids of a file. Lives as long as the connection.
--
-- Returns: nothing
-- Locks:   none
-- Index:   none

CREATE TEMP TABLE staged (user_id bigint NOT NULL)
