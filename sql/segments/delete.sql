-- sql/segments/delete.sql
-- Ends the life of a live segment: one row, however many members it has. Needs: segments/lock_slug.
--
-- $1 slug text
--
-- Returns: one row: deleted_at timestamptz; or none
-- Locks:   the segment FOR UPDATE: waits for those who are changing its members, and they for it
-- Index:   segment_deleted_at_slug_key, segment_pkey
--
-- The clock is read after the lock is held, so that no membership period begins after the end.

WITH locked AS MATERIALIZED (
    SELECT
        s.id,
        s.created_at
    FROM segment AS s
    WHERE s.slug = $1::text AND s.deleted_at = 'infinity'
    FOR UPDATE
)

UPDATE segment AS s
SET deleted_at = greatest(clock_timestamp(), locked.created_at + interval '1 microsecond')
FROM locked
WHERE s.id = locked.id
RETURNING s.deleted_at
