-- Indexes that find the events of the feed in their order, without stopping writes.
-- depends: 0005.feed
-- transactional: false
-- squawk-ignore-file ban-concurrent-index-creation-in-transaction, prefer-robust-stmts

-- If this is interrupted, it is done again from the start: an index that was not completed has its
-- name, but cannot be used.
DROP INDEX CONCURRENTLY IF EXISTS membership_valid_from_segment_id_user_id_idx;
CREATE INDEX CONCURRENTLY membership_valid_from_segment_id_user_id_idx
ON membership (valid_from, segment_id, user_id);

DROP INDEX CONCURRENTLY IF EXISTS membership_valid_to_segment_id_user_id_idx;
CREATE INDEX CONCURRENTLY membership_valid_to_segment_id_user_id_idx
ON membership (valid_to, segment_id, user_id) WHERE valid_to < 'infinity';

DROP INDEX CONCURRENTLY IF EXISTS users_first_seen_at_id_idx;
CREATE INDEX CONCURRENTLY users_first_seen_at_id_idx ON users (first_seen_at, id);

COMMENT ON INDEX membership_valid_from_segment_id_user_id_idx IS
'Periods in the order of their starts, for the feed and for the report of a month.';
COMMENT ON INDEX membership_valid_to_segment_id_user_id_idx IS
'Periods in the order of their ends, for the feed and for the report of a month.';
COMMENT ON INDEX users_first_seen_at_id_idx IS
'Users in the order in which they became known, for the feed and for the report of a month.';

-- The new ones begin with the same columns.
DROP INDEX CONCURRENTLY IF EXISTS membership_valid_from_idx;
DROP INDEX CONCURRENTLY IF EXISTS membership_valid_to_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_first_seen_at_idx;
