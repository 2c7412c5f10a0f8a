-- Rollouts: the percentage of all users that a segment takes by itself.
-- depends: 0001.segment

CREATE TABLE rollout (
    segment_id bigint NOT NULL,
    percent numeric(5, 2) NOT NULL,
    -- Users whose point is below it are in. A hundred per cent is above every point.
    threshold bigint NOT NULL
    GENERATED ALWAYS AS (floor(percent * 4294967296 / 100)::bigint) STORED,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    -- No two of a segment end together; in particular, one at most is open.
    CONSTRAINT rollout_pkey PRIMARY KEY (segment_id, valid_to),
    CONSTRAINT rollout_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES segment (id),
    CONSTRAINT rollout_percent_check CHECK (percent BETWEEN 0 AND 100),
    CONSTRAINT rollout_period_check CHECK (valid_from < valid_to),
    -- One percentage at a time. The id stands as a range of one, because a plain bigint
    -- cannot be in a GiST index without an extension.
    CONSTRAINT rollout_overlap_excl EXCLUDE USING gist (
        int8range(segment_id, segment_id, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&
    )
);

-- The open ones of all segments lie together.
CREATE INDEX rollout_valid_to_idx ON rollout (valid_to);
