-- sql/segments/delete.sql
-- Ends the life of a segment and its rollout: two rows at most, however many members it has.
-- Needs: segments/lock_slug, segments/lock.
--
-- $1 id    bigint
-- $2 now   timestamptz, read after the segment was locked
-- $3 actor text, null for nobody in particular
--
-- Returns: nothing
-- Locks:   both rows; the segment's lock keeps others away
-- Index:   segment_pkey
--
-- By the rule the rollout would be over without its end; with it, reads need not pass over the
-- rollouts of dead segments.

WITH ended AS (
    UPDATE rollout AS r
    SET
        valid_to = greatest($2::timestamptz, r.valid_from + interval '1 microsecond'),
        closed_by = $3::text
    WHERE r.segment_id = $1::bigint AND r.valid_to = 'infinity'
)

UPDATE segment AS s
SET
    deleted_at = greatest($2::timestamptz, s.created_at + interval '1 microsecond'),
    deleted_by = $3::text
WHERE s.id = $1::bigint
