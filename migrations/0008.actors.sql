-- Who did it: the name of the key that opened and that closed each period, rollout and segment.
-- depends: 0007.api_key

-- Null where nobody had to bear a key, and for what was written before. Columns without a default
-- are added without touching a row.
ALTER TABLE segment
ADD COLUMN created_by text,
ADD COLUMN deleted_by text;

ALTER TABLE rollout
ADD COLUMN opened_by text,
ADD COLUMN closed_by text;

-- An end that was set in advance was set by closed_by too.
ALTER TABLE membership
ADD COLUMN opened_by text,
ADD COLUMN closed_by text;
