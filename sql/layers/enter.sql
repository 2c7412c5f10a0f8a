-- sql/layers/enter.sql
-- Puts a segment into a layer. Needs: layers/lock, layers/lock_segments.
--
-- $1 layer_id   bigint
-- $2 segment_id bigint
-- $3 now        timestamptz, read after the segments were locked
-- $4 actor      text, null without an API key
--
-- Returns: nothing
-- Locks:   its own new row
-- Index:   segment_pkey
--
-- It ends with the segment, so that reads of layers need not look at segments.

INSERT INTO layer_segment (segment_id, layer_id, valid_from, valid_to, opened_by, closed_by)
SELECT
    s.id AS segment_id,
    $1::bigint AS layer_id,
    greatest(
        $3::timestamptz,
        s.created_at,
        (
            SELECT max(past.valid_to)
            FROM layer_segment AS past
            WHERE past.segment_id = $2::bigint
        )
    ) AS valid_from,
    s.deleted_at AS valid_to,
    $4::text AS opened_by,
    CASE WHEN s.deleted_at < 'infinity' THEN s.deleted_by END AS closed_by
FROM segment AS s
WHERE s.id = $2::bigint
