-- sql/segments/lock.sql
-- Locks a live segment for a change of its life or its percentage, then reads the clock.
-- Needs: segments/lock_slug.
--
-- $1 slug text
--
-- Returns: one row: id bigint, locked_at timestamptz; or none
-- Locks:   the segment FOR UPDATE
-- Index:   segment_deleted_at_slug_key

-- MATERIALIZED: the row is locked before the clock is read.
WITH locked AS MATERIALIZED (
    SELECT s.id
    FROM segment AS s
    WHERE s.slug = $1::text AND s.deleted_at = 'infinity'
    FOR UPDATE
)

SELECT
    locked.id,
    clock_timestamp() AS locked_at
FROM locked
