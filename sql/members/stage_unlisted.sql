-- sql/members/stage_unlisted.sql
-- Creates the temporary table for the members who are not in a list that replaces them.
--
-- Returns: nothing
-- Locks:   none
-- Index:   none

CREATE TEMP TABLE unlisted (user_id bigint NOT NULL)
