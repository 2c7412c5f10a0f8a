-- sql/members/lock_registration.sql
-- Waits for an erasure of a user, and holds others off until the commit.
-- Needs: members/lock_segment.
--
-- Returns: one row: registration_lock void
-- Locks:   an advisory lock of the transaction, shared; users/lock_registration says why
-- Index:   none
--
-- A file takes it before it looks which of its users are known. What finds users by itself, a set
-- or a replacement, takes it before that: who is erased is not written again.

SELECT pg_advisory_xact_lock_shared(1936026482, 0) AS registration_lock
