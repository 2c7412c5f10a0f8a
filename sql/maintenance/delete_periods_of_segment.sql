-- sql/maintenance/delete_periods_of_segment.sql
-- Deletes a batch of the periods of a deleted segment.
--
-- $1 segment_id bigint
-- $2 limit      bigint
--
-- Returns: nothing
-- Locks:   the rows it deletes, which no writer changes any more
-- Index:   membership_segment_id_user_id_idx, membership_pkey

DELETE FROM membership AS m
USING (
    SELECT
        deleted.user_id,
        deleted.valid_to,
        deleted.segment_id
    FROM membership AS deleted
    WHERE deleted.segment_id = $1::bigint
    ORDER BY deleted.user_id
    LIMIT $2::bigint
) AS batch
WHERE
    m.user_id = batch.user_id
    AND m.valid_to = batch.valid_to
    AND m.segment_id = batch.segment_id
