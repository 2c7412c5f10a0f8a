-- sql/maintenance/find_periods_of_unknown_users.sql
-- Finds periods of users who are not registered.
--
-- Returns: a row each: user_id bigint, segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    m.user_id,
    m.segment_id,
    m.valid_from AS at
FROM membership AS m
LEFT JOIN users AS u ON m.user_id = u.id
WHERE u.id IS NULL
