-- sql/members/stage.sql
-- Creates the temporary table for the user ids of a file. It lives as long as the connection.
--
-- Returns: nothing
-- Locks:   none
-- Index:   none

CREATE TEMP TABLE staged (user_id bigint NOT NULL)
