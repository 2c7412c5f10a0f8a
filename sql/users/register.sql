-- sql/users/register.sql
-- Registers users who are not known yet.
--
-- $1 user_ids bigint[]
--
-- Returns: nothing
-- Locks:   its own new rows, in the order of their ids, so that two of these do not deadlock
-- Index:   users_pkey

INSERT INTO users (id, first_seen_at)
SELECT
    asked.id,
    clock_timestamp() AS first_seen_at
FROM unnest($1::bigint[]) AS asked (id)
ORDER BY asked.id
ON CONFLICT (id) DO NOTHING
