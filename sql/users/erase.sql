-- sql/users/erase.sql
-- Erases a user. Needs: users/erase_periods.
--
-- $1 user_id bigint
--
-- Returns: nothing
-- Locks:   the row, which users/lock_known has locked
-- Index:   users_pkey

DELETE FROM users AS u
WHERE u.id = $1::bigint
