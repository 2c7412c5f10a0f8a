-- sql/users/list_segments.sql
-- Lists the segments of all periods of a user.
--
-- $1 user_id bigint
--
-- Returns: a row each: id bigint
-- Locks:   none
-- Index:   membership_pkey

SELECT DISTINCT m.segment_id AS id
FROM membership AS m
WHERE m.user_id = $1::bigint
