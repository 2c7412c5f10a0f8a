-- sql/members/lock_users.sql
-- Locks the users of a file, registered if need be, and reads the clock after that.
-- Needs: members/stage, members/lock_segment.
--
-- Returns: one row: locked_at timestamptz
-- Locks:   the users' rows, in the order of their ids
-- Index:   users_pkey
--
-- A million users take 3 s if nobody has heard of them and 2 s otherwise. Until the import commits,
-- writes of these users wait; reads do not.

WITH registered AS (
    INSERT INTO users AS u (id, first_seen_at)
    SELECT
        wanted.id,
        clock_timestamp() AS first_seen_at
    FROM (SELECT DISTINCT staged.user_id AS id FROM staged) AS wanted
    ORDER BY wanted.id
    ON CONFLICT (id) DO UPDATE SET first_seen_at = u.first_seen_at WHERE FALSE
    RETURNING u.id
)

SELECT clock_timestamp() AS locked_at
FROM (SELECT count(*) AS user_count FROM registered) AS done
