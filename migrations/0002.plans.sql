-- Plans: periods and rollouts that are written before their start, and ends of segments that are
-- set before they come.
-- depends: 0001.initial

ALTER TABLE membership ADD COLUMN planned boolean NOT NULL DEFAULT FALSE;
ALTER TABLE rollout ADD COLUMN planned boolean NOT NULL DEFAULT FALSE;

COMMENT ON COLUMN membership.planned IS
'TRUE if it was written before its start. Until then, a later write may replace it.';
COMMENT ON COLUMN rollout.planned IS
'TRUE if it was written before its start. Until then, a later plan may replace it.';

-- A segment that has a planned end is live until then, so a slug is looked up with any end. By the
-- index that begins with the end, PostgreSQL 18 would search once for each planned end, and older
-- ones would read all live segments. Segments are few: the indexes take milliseconds.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX segment_slug_deleted_at_key ON segment (slug, deleted_at);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX segment_deleted_at_idx ON segment (deleted_at);
-- squawk-ignore ban-drop-constraint
ALTER TABLE segment DROP CONSTRAINT segment_deleted_at_slug_key;

COMMENT ON COLUMN segment.deleted_at IS
'End of the life, exclusive. In the future if it is planned, infinity while there is none.';
COMMENT ON COLUMN segment.deleted_by IS
'Name of the API key that set deleted_at, at once or in advance. NULL without a key.';
COMMENT ON INDEX segment_slug_deleted_at_key IS
'The lives of a slug, the live one last. No two of them end together.';
COMMENT ON INDEX segment_deleted_at_idx IS 'Segments that ended in a month, or before a time.';
