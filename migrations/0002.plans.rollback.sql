-- What was planned and has not started is lost: the schema before cannot tell it apart.
-- A percentage that ends where a plan starts goes on, and so does a segment with a planned end.
DELETE FROM membership AS m
WHERE m.planned AND m.valid_from > now();

DELETE FROM rollout AS r
WHERE r.planned AND r.valid_from > now();

UPDATE rollout AS r
SET valid_to = 'infinity'
WHERE r.valid_to > now();

ALTER TABLE rollout DROP COLUMN planned;
ALTER TABLE membership DROP COLUMN planned;

UPDATE segment AS s
SET
    deleted_at = 'infinity',
    deleted_by = NULL
WHERE s.deleted_at > now() AND s.deleted_at < 'infinity';

COMMENT ON COLUMN segment.deleted_at IS
'End of the life, exclusive. infinity while the segment is live.';
COMMENT ON COLUMN segment.deleted_by IS 'Name of the API key that deleted it. NULL without a key.';
ALTER TABLE segment ADD CONSTRAINT segment_deleted_at_slug_key UNIQUE (deleted_at, slug);
COMMENT ON CONSTRAINT segment_deleted_at_slug_key ON segment IS
'At most one live segment a slug. Live segments are adjacent in the index, sorted by slug.';
DROP INDEX segment_deleted_at_idx;
DROP INDEX segment_slug_deleted_at_key;
