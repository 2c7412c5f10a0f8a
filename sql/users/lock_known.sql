-- sql/users/lock_known.sql
-- Locks a known user, so that nobody changes the user. Needs: users/lock_segments.
--
-- $1 user_id bigint
--
-- Returns: one row: id bigint; none if the user is not known
-- Locks:   the row of the user FOR UPDATE
-- Index:   users_pkey

SELECT u.id
FROM users AS u
WHERE u.id = $1::bigint
FOR UPDATE
