-- sql/segments/find_layer.sql
-- Finds the layer that a segment is in at one time, and the other segments in it.
--
-- $1 segment_id bigint
-- $2 at         timestamptz
--
-- Returns: one row: id bigint, salt text, neighbours bigint[]; none if the segment is in no layer
-- Locks:   none
-- Index:   none: the layers are few

SELECT
    layer.id,
    layer.salt,
    ARRAY(
        SELECT other.segment_id
        FROM layer_segment AS other
        WHERE
            other.layer_id = layer.id
            AND other.segment_id <> $1::bigint
            AND other.valid_from <= $2::timestamptz
            AND other.valid_to > $2::timestamptz
    ) AS neighbours
FROM layer_segment AS l
INNER JOIN layer ON l.layer_id = layer.id
WHERE
    l.segment_id = $1::bigint
    AND l.valid_from <= $2::timestamptz
    AND l.valid_to > $2::timestamptz
