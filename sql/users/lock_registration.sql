-- sql/users/lock_registration.sql
-- Waits for files that register their users, and holds them off until the commit.
-- Needs: users/lock_known.
--
-- Returns: one row: registration_lock void
-- Locks:   an advisory lock of the transaction; members/lock_registration takes it shared
-- Index:   none
--
-- If a user were erased after others have looked who is known, they would leave periods of a user
-- who is not known. The first number is the namespace (the bytes "segr"); see segments/lock_slug.

SELECT pg_advisory_xact_lock(1936026482, 0) AS registration_lock
