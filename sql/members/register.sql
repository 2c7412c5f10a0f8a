-- sql/members/register.sql
-- Registers the users of a file who are not known yet, as of just before the change.
-- Needs: members/lock_registration.
--
-- $1 now timestamptz, read after the segment was locked
--
-- Returns: nothing
-- Locks:   its own new rows, in the order of their ids, so that it does not deadlock with others
-- Index:   users_pkey
--
-- It is the last step of a file: until the commit, other writes of these new users wait for it. A
-- change of one user registers the user before it reads the clock, so that a user who was not known
-- leaves a segment that admits the user: here that is a microsecond.

INSERT INTO users (id, first_seen_at)
SELECT
    staged_user.id,
    $1::timestamptz - interval '1 microsecond' AS first_seen_at
FROM (SELECT DISTINCT staged.user_id AS id FROM staged) AS staged_user
WHERE
    NOT EXISTS (
        SELECT FROM users AS u
        WHERE u.id = staged_user.id
    )
ORDER BY staged_user.id
ON CONFLICT (id) DO NOTHING
