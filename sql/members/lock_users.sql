-- sql/members/lock_users.sql
-- Locks the users of a file, who are registered if necessary, then reads the clock.
-- Needs: members/stage, members/lock_segment.
--
-- Returns: one row: locked_at timestamptz
-- Locks:   the rows of the users, in the order of their ids
-- Index:   users_pkey
--
-- A million users take 3 s if they are new, otherwise 2 s. Until the import commits, other writes
-- of these users wait; reads do not.

WITH locked_users AS (
    INSERT INTO users AS u (id, first_seen_at)
    SELECT
        staged_user.id,
        clock_timestamp() AS first_seen_at
    FROM (SELECT DISTINCT staged.user_id AS id FROM staged) AS staged_user
    ORDER BY staged_user.id
    -- An update that never happens: it locks the row of a known user without rewriting it.
    ON CONFLICT (id) DO UPDATE SET first_seen_at = u.first_seen_at WHERE FALSE
    RETURNING u.id
)

SELECT clock_timestamp() AS locked_at
-- count(*) needs all locks, so the clock is read after them.
FROM (SELECT count(*) AS users FROM locked_users) AS after_user_locks
