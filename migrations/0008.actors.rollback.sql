ALTER TABLE membership
DROP COLUMN opened_by,
DROP COLUMN closed_by;

ALTER TABLE rollout
DROP COLUMN opened_by,
DROP COLUMN closed_by;

ALTER TABLE segment
DROP COLUMN created_by,
DROP COLUMN deleted_by;
