-- What the history and the month's report need: how periods ended, and what changed when.
-- depends: 0005.rollout_point

-- Whether an included period was ended by a removal; otherwise its end is an expiry.
ALTER TABLE membership ADD COLUMN removed boolean NOT NULL DEFAULT FALSE;

CREATE INDEX membership_valid_from_idx ON membership (valid_from);
CREATE INDEX membership_valid_to_idx ON membership (valid_to) WHERE valid_to < 'infinity';
CREATE INDEX users_first_seen_at_idx ON users (first_seen_at);
