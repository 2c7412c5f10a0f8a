-- sql/members/skip_conflicts.sql
-- Leaves out the users of a file who are, or will be, by hand elsewhere in the layer of a segment.
-- Needs: members/lock_segment.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the segment was locked
-- $3 since      timestamptz, the start of what is added; null for now
-- $4 until      timestamptz, the end of what is added; null for no end
--
-- Returns: nothing
-- Locks:   the temporary table, which only this connection sees
-- Index:   membership_segment_id_user_id_idx

DELETE FROM staged
USING (
    SELECT DISTINCT e.user_id
    FROM (SELECT DISTINCT staged.user_id FROM staged) AS staged_user
    INNER JOIN elsewhere AS e ON staged_user.user_id = e.user_id
    WHERE
        e.segment_id = $1::bigint
        AND e.valid_to > coalesce($3::timestamptz, $2::timestamptz)
        AND e.valid_from < coalesce($4::timestamptz, 'infinity')
) AS conflict
WHERE staged.user_id = conflict.user_id
