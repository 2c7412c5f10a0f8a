-- sql/maintenance/count_ended.sql
-- Counts what a prune would delete.
--
-- $1 before timestamptz
--
-- Returns: one row: periods bigint, rollouts bigint, segments bigint
-- Locks:   none
-- Index:   membership_valid_to_segment_id_user_id_idx, membership_segment_id_user_id_idx,
--          segment_deleted_at_idx

SELECT
    (
        SELECT count(*)
        FROM membership AS m
        WHERE m.valid_to < $1::timestamptz AND m.valid_to < 'infinity'
    ) + (
        SELECT count(*)
        FROM segment AS s
        INNER JOIN LATERAL (
            SELECT m.user_id
            FROM membership AS m
            WHERE m.segment_id = s.id AND m.valid_to >= $1::timestamptz
        ) AS kept ON TRUE
        WHERE s.deleted_at < $1::timestamptz
    ) AS periods,
    (
        SELECT count(*)
        FROM rollout AS r
        WHERE r.valid_to < $1::timestamptz
    ) AS rollouts,
    (
        SELECT count(*)
        FROM segment AS s
        WHERE s.deleted_at < $1::timestamptz
    ) AS segments
