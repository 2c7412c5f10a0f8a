-- sql/events/find_segment.sql
-- Finds the next segment in which something may change at one time.
--
-- $1 at         timestamptz
-- $2 segment_id bigint, the first one that is asked about
--
-- Returns: one row: id bigint, null if there is none
-- Locks:   none
-- Index:   membership_valid_from_segment_id_user_id_idx,
--          membership_valid_to_segment_id_user_id_idx, users_first_seen_at_id_idx,
--          segment_deleted_at_idx
--
-- Rows are compared in the order of the indexes: where very many periods begin at one time,
-- PostgreSQL would scan the table for any of them.

-- Layers in which periods by hand begin or end then, or which segments enter or leave.
WITH changed_layer AS MATERIALIZED (
    SELECT DISTINCT l.layer_id
    FROM layer_segment AS l
    WHERE
        l.valid_from <= $1::timestamptz
        AND l.valid_to >= $1::timestamptz
        AND (
            l.valid_from = $1::timestamptz
            OR l.valid_to = $1::timestamptz
            OR l.segment_id = (
                SELECT m.segment_id
                FROM membership AS m
                WHERE
                    (m.valid_from, m.segment_id) >= ($1::timestamptz, l.segment_id)
                    AND m.valid_from <= $1::timestamptz
                ORDER BY m.valid_from, m.segment_id
                LIMIT 1
            )
            OR l.segment_id = (
                SELECT m.segment_id
                FROM membership AS m
                WHERE
                    (m.valid_to, m.segment_id) >= ($1::timestamptz, l.segment_id)
                    AND m.valid_to <= $1::timestamptz
                    AND m.valid_to < 'infinity'
                ORDER BY m.valid_to, m.segment_id
                LIMIT 1
            )
        )
)

SELECT
    least(
        (
            SELECT m.segment_id
            FROM membership AS m
            WHERE
                (m.valid_from, m.segment_id) >= ($1::timestamptz, $2::bigint)
                AND m.valid_from <= $1::timestamptz
            ORDER BY m.valid_from, m.segment_id
            LIMIT 1
        ),
        (
            SELECT m.segment_id
            FROM membership AS m
            WHERE
                (m.valid_to, m.segment_id) >= ($1::timestamptz, $2::bigint)
                AND m.valid_to <= $1::timestamptz
                AND m.valid_to < 'infinity'
            ORDER BY m.valid_to, m.segment_id
            LIMIT 1
        ),
        (
            SELECT min(l.segment_id)
            FROM layer_segment AS l
            INNER JOIN changed_layer AS c ON l.layer_id = c.layer_id
            WHERE
                l.segment_id >= $2::bigint
                AND l.valid_from <= $1::timestamptz
                AND l.valid_to >= $1::timestamptz
        ),
        (
            SELECT min(r.segment_id)
            FROM rollout AS r
            WHERE
                r.segment_id >= $2::bigint
                AND r.valid_from <= $1::timestamptz
                AND r.valid_to >= $1::timestamptz
                AND (
                    r.valid_from = $1::timestamptz
                    OR r.valid_to = $1::timestamptz
                    OR r.valid_to > (
                        SELECT min(u.first_seen_at)
                        FROM users AS u
                        WHERE u.first_seen_at >= $1::timestamptz
                        HAVING min(u.first_seen_at) = $1::timestamptz
                    )
                )
        ),
        (
            SELECT min(ended.id + 0)
            FROM segment AS ended
            -- As a range, and not by the bare id, it is searched for by the end.
            WHERE
                ended.deleted_at BETWEEN $1::timestamptz AND $1::timestamptz
                AND ended.id >= $2::bigint
        )
    ) AS id
