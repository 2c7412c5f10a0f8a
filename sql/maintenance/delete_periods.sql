-- sql/maintenance/delete_periods.sql
-- Deletes a batch of the periods that ended before a time.
--
-- $1 before timestamptz
-- $2 limit  bigint
--
-- Returns: nothing
-- Locks:   the rows it deletes, which no writer changes any more
-- Index:   membership_valid_to_segment_id_user_id_idx, membership_pkey

DELETE FROM membership AS m
USING (
    SELECT
        ended.user_id,
        ended.valid_to,
        ended.segment_id
    FROM membership AS ended
    WHERE ended.valid_to < $1::timestamptz AND ended.valid_to < 'infinity'
    ORDER BY ended.valid_to
    LIMIT $2::bigint
) AS batch
WHERE
    m.user_id = batch.user_id
    AND m.valid_to = batch.valid_to
    AND m.segment_id = batch.segment_id
