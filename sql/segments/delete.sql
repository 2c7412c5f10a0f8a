-- sql/segments/delete.sql
-- Ends the life of a segment, its rollout and its time in a layer, and deletes its plan.
-- Needs: segments/lock_slug, segments/lock.
--
-- $1 id    bigint
-- $2 now   timestamptz, read after the segment was locked
-- $3 actor text, null without an API key
--
-- Returns: nothing
-- Locks:   these rows; the lock of the segment excludes other writers
-- Index:   segment_pkey
--
-- These are few rows, however many members it has: membership ends with the life of the segment.
-- The rollout is closed too, so that reads do not scan the rollouts of deleted segments.

WITH cancelled AS (
    DELETE FROM rollout AS r
    WHERE r.segment_id = $1::bigint AND r.planned AND r.valid_from > $2::timestamptz
),

closed AS (
    UPDATE rollout AS r
    SET
        valid_to = greatest($2::timestamptz, r.valid_from + interval '1 microsecond'),
        closed_by = $3::text
    WHERE
        r.segment_id = $1::bigint
        AND r.valid_to > $2::timestamptz
        AND NOT (r.planned AND r.valid_from > $2::timestamptz)
),

left_layer AS (
    UPDATE layer_segment AS l
    SET
        valid_to = greatest($2::timestamptz, l.valid_from + interval '1 microsecond'),
        closed_by = $3::text
    WHERE l.segment_id = $1::bigint AND l.valid_to > $2::timestamptz
)

UPDATE segment AS s
SET
    deleted_at = greatest($2::timestamptz, s.created_at + interval '1 microsecond'),
    deleted_by = $3::text
WHERE s.id = $1::bigint
