CREATE INDEX membership_valid_from_idx ON membership (valid_from);
CREATE INDEX membership_valid_to_idx ON membership (valid_to) WHERE valid_to < 'infinity';
CREATE INDEX users_first_seen_at_idx ON users (first_seen_at);

COMMENT ON INDEX membership_valid_from_idx IS 'Periods that began in a month, for its report.';
COMMENT ON INDEX membership_valid_to_idx IS 'Periods that ended in a month, for its report.';
COMMENT ON INDEX users_first_seen_at_idx IS 'Users who became known in a month, for its report.';

DROP INDEX membership_valid_from_segment_id_user_id_idx;
DROP INDEX membership_valid_to_segment_id_user_id_idx;
DROP INDEX users_first_seen_at_id_idx;
