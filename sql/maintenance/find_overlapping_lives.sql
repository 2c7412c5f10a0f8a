-- sql/maintenance/find_overlapping_lives.sql
-- Finds segments that were created before an earlier one of the same slug was deleted.
--
-- Returns: a row each: segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    life.id AS segment_id,
    life.created_at AS at
FROM (
    SELECT
        s.id,
        s.created_at,
        lag(s.deleted_at) OVER (PARTITION BY s.slug ORDER BY s.created_at) AS earlier_deleted_at
    FROM segment AS s
) AS life
WHERE life.created_at < life.earlier_deleted_at
