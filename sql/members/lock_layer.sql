-- sql/members/lock_layer.sql
-- Locks the layer that a live segment is in, so that no segment enters it or leaves it.
-- Needs: members/lock_slugs.
--
-- $1 slug text
--
-- Returns: one row: id bigint; none if the segment is in no layer
-- Locks:   the layer FOR SHARE
-- Index:   segment_slug_deleted_at_key

SELECT layer.id
FROM segment AS s
INNER JOIN layer_segment AS l ON s.id = l.segment_id AND l.valid_to > clock_timestamp()
INNER JOIN layer ON l.layer_id = layer.id
WHERE s.slug = $1::text AND s.deleted_at > clock_timestamp()
FOR SHARE OF layer
