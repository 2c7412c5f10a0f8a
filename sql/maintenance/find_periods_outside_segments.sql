-- sql/maintenance/find_periods_outside_segments.sql
-- Finds periods that start outside the life of their segment, or whose segment does not exist.
--
-- Returns: a row each: user_id bigint, segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once
--
-- A plan may start after the segment was deleted: it never begins.

SELECT
    m.user_id,
    m.segment_id,
    m.valid_from AS at
FROM membership AS m
LEFT JOIN segment AS s ON m.segment_id = s.id
WHERE
    NOT coalesce(
        m.valid_from >= s.created_at AND (m.valid_from < s.deleted_at OR m.planned), FALSE
    )
