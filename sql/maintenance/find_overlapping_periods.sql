-- sql/maintenance/find_overlapping_periods.sql
-- Finds periods of a user and a segment that start before an earlier one ends.
--
-- Returns: a row each: user_id bigint, segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    p.user_id,
    p.segment_id,
    p.valid_from AS at
FROM (
    SELECT
        m.user_id,
        m.segment_id,
        m.valid_from,
        max(m.valid_to) OVER (
            PARTITION BY m.user_id, m.segment_id
            ORDER BY m.valid_from, m.valid_to
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS earlier_valid_to
    FROM membership AS m
) AS p
WHERE p.valid_from < p.earlier_valid_to
