-- sql/members/find_segment.sql
-- Finds a live segment for a dry run of a change of many of its members, and reads the clock.
--
-- $1 slug text
--
-- Returns: one row: id bigint, ends_at timestamptz, null without an end, layer_id bigint, null
--          outside layers, locked_at timestamptz; or none
-- Locks:   none
-- Index:   segment_slug_deleted_at_key

WITH timed AS MATERIALIZED (
    SELECT clock_timestamp() AS locked_at
)

SELECT
    s.id,
    l.layer_id,
    timed.locked_at,
    nullif(s.deleted_at, 'infinity') AS ends_at
FROM timed
INNER JOIN segment AS s ON s.slug = $1::text AND timed.locked_at < s.deleted_at
LEFT JOIN layer_segment AS l ON s.id = l.segment_id AND timed.locked_at < l.valid_to
