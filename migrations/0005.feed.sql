-- The feed: how far it was served, and keys that may follow it.
-- depends: 0004.audit

CREATE TABLE feed (
    singleton boolean NOT NULL DEFAULT TRUE,
    horizon timestamptz NOT NULL DEFAULT '-infinity',
    pruned_before timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT feed_pkey PRIMARY KEY (singleton),
    CONSTRAINT feed_singleton_check CHECK (singleton)
);

INSERT INTO feed DEFAULT VALUES;

COMMENT ON TABLE feed IS 'How far the feed of events was served: one row.';
COMMENT ON COLUMN feed.singleton IS 'TRUE: there is one row.';
COMMENT ON COLUMN feed.horizon IS
'No event before it appears any more: every write uses a time after it, wherever the clock is.';
COMMENT ON COLUMN feed.pruned_before IS
'Events before it may be gone: who followed the feed until then has to list the members again.';

-- The keys are few: the check of their roles takes no time.
-- squawk-ignore ban-drop-constraint, constraint-missing-not-valid
ALTER TABLE api_key DROP CONSTRAINT api_key_role_check,
-- squawk-ignore constraint-missing-not-valid
ADD CONSTRAINT api_key_role_check CHECK (role IN ('reader', 'follower', 'editor'));

COMMENT ON COLUMN api_key.role IS
'reader: reads users. follower: also members and the feed. editor: does everything.';
