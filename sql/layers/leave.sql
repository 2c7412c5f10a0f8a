-- sql/layers/leave.sql
-- Takes a segment out of its layer. Needs: layers/lock, layers/lock_segments.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the segments were locked
-- $3 actor      text, null without an API key
--
-- Returns: nothing
-- Locks:   the row; the lock of the layer excludes other writers
-- Index:   none: the layers are few

UPDATE layer_segment AS l
SET
    valid_to = greatest($2::timestamptz, l.valid_from + interval '1 microsecond'),
    closed_by = $3::text
WHERE l.segment_id = $1::bigint AND l.valid_to > $2::timestamptz
