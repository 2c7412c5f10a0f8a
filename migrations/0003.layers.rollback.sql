-- Layers are lost: their segments may share users again, and their percentages go back to the
-- points that they have without a layer. A suspended user is in again.
ALTER TABLE rollout DROP CONSTRAINT rollout_points_excl;

UPDATE rollout AS r
SET
    salt = s.slug,
    points = rollout_points(r.percent)
FROM segment AS s
WHERE r.segment_id = s.id AND r.layer_id IS NOT NULL;

DROP FUNCTION stay_events(segment, timestamptz, membership[], rollout[], elsewhere[]);
DROP VIEW elsewhere;
ALTER TABLE rollout DROP COLUMN layer_id;
ALTER TABLE membership DROP COLUMN moved;
DROP TABLE layer_segment;
DROP TABLE layer;
COMMENT ON COLUMN rollout.salt IS
'Input of rollout_point beside the user id. The slug of the segment.';
