-- sql/users/register.sql
-- Registers users who are not known yet.
--
-- $1 user_ids bigint[]
--
-- Returns: nothing
-- Locks:   its own new rows, in the order of their ids, so that two of these do not deadlock
-- Index:   users_pkey

-- No write is before what the feed has served, or before its own transaction: events/get_horizon.
WITH after_feed AS MATERIALIZED (
    SELECT greatest(now(), max(f.horizon)) + interval '1 microsecond' AS at
    FROM feed AS f
)

INSERT INTO users (id, first_seen_at)
SELECT
    asked.id,
    greatest(clock_timestamp(), after_feed.at) AS first_seen_at
FROM after_feed
CROSS JOIN unnest($1::bigint[]) AS asked (id)
ORDER BY asked.id
ON CONFLICT (id) DO NOTHING
