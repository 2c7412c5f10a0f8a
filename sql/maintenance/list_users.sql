-- sql/maintenance/list_users.sql
-- Lists known users in the order of their ids, from after a given one.
--
-- $1 after bigint, 0 for the first page
-- $2 limit bigint
--
-- Returns: a row each: id bigint
-- Locks:   none
-- Index:   users_pkey

SELECT u.id
FROM users AS u
WHERE u.id > $1::bigint
ORDER BY u.id
LIMIT $2::bigint
