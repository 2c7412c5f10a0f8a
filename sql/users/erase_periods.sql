-- sql/users/erase_periods.sql
-- Erases the periods of a user. Needs: users/lock_registration.
--
-- $1 user_id bigint
--
-- Returns: nothing
-- Locks:   these rows; the locks of the segments and of the user exclude other writers
-- Index:   membership_pkey

DELETE FROM membership AS m
WHERE m.user_id = $1::bigint
