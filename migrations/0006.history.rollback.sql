DROP INDEX users_first_seen_at_idx;
DROP INDEX membership_valid_to_idx;
DROP INDEX membership_valid_from_idx;
ALTER TABLE membership DROP COLUMN removed;
