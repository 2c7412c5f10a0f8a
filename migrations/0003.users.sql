-- Users: known from the first time the service is told of them or asked about them.
-- depends: 0002.rollout

CREATE TABLE users (
    id bigint NOT NULL,
    first_seen_at timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_id_check CHECK (id > 0)
);

-- Who became known in a month, for its report.
CREATE INDEX users_first_seen_at_idx ON users (first_seen_at);
