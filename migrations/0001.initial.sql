-- The schema of segsvc. The comments in it are also stored in the database.
-- depends:

CREATE TABLE segment (
    id bigint GENERATED ALWAYS AS IDENTITY,
    slug text COLLATE "C" NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT 'infinity',
    created_by text,
    deleted_by text,
    CONSTRAINT segment_pkey PRIMARY KEY (id),
    CONSTRAINT segment_deleted_at_slug_key UNIQUE (deleted_at, slug),
    CONSTRAINT segment_slug_check CHECK (slug ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'),
    CONSTRAINT segment_life_check CHECK (created_at < deleted_at)
);

COMMENT ON TABLE segment IS
'A named group of users. A row is one life of a slug, from created_at to deleted_at.';
COMMENT ON COLUMN segment.id IS 'Key of this life of the slug.';
COMMENT ON COLUMN segment.slug IS
'The name. Compared and sorted bytewise, as the HTTP API promises.';
COMMENT ON COLUMN segment.description IS 'What the segment is for.';
COMMENT ON COLUMN segment.created_at IS 'Start of the life, inclusive.';
COMMENT ON COLUMN segment.deleted_at IS
'End of the life, exclusive. infinity while the segment is live.';
COMMENT ON COLUMN segment.created_by IS 'Name of the API key that created it. NULL without a key.';
COMMENT ON COLUMN segment.deleted_by IS 'Name of the API key that deleted it. NULL without a key.';
COMMENT ON CONSTRAINT segment_deleted_at_slug_key ON segment IS
'At most one live segment a slug. Live segments are adjacent in the index, sorted by slug.';

CREATE TABLE rollout (
    segment_id bigint NOT NULL,
    percent numeric(5, 2) NOT NULL,
    salt text COLLATE "C" NOT NULL,
    points int8multirange NOT NULL,
    threshold bigint GENERATED ALWAYS AS (
        CASE
            WHEN isempty(points) THEN 0
            WHEN lower(points) = 0 AND points = int8multirange(range_merge(points))
                THEN upper(points)
        END
    ) STORED,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    opened_by text,
    closed_by text,
    CONSTRAINT rollout_pkey PRIMARY KEY (segment_id, valid_to),
    CONSTRAINT rollout_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES segment (id),
    CONSTRAINT rollout_percent_check CHECK (percent BETWEEN 0 AND 100),
    CONSTRAINT rollout_points_check CHECK (points <@ '[0,4294967296)'::int8range),
    CONSTRAINT rollout_period_check CHECK (valid_from < valid_to),
    -- A plain bigint cannot be in a GiST index without an extension, so the id is a range of one.
    CONSTRAINT rollout_overlap_excl EXCLUDE USING gist (
        int8range(segment_id, segment_id, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&
    )
);

CREATE INDEX rollout_valid_to_idx ON rollout (valid_to);

COMMENT ON TABLE rollout IS
'A percentage of users that a segment takes automatically, from valid_from to valid_to.';
COMMENT ON COLUMN rollout.segment_id IS 'The segment.';
COMMENT ON COLUMN rollout.percent IS 'The percentage: 0.00 to 100.00.';
COMMENT ON COLUMN rollout.salt IS
'Input of rollout_point beside the user id. The slug of the segment.';
COMMENT ON COLUMN rollout.points IS
'The points that the rollout owns, of [0, 2^32): a user whose point is among them is in.';
COMMENT ON COLUMN rollout.threshold IS
'Upper bound of points if they are one range from 0, otherwise NULL. For the hot read.';
COMMENT ON COLUMN rollout.valid_from IS 'Start, inclusive.';
COMMENT ON COLUMN rollout.valid_to IS 'End, exclusive. infinity while it has no end.';
COMMENT ON COLUMN rollout.opened_by IS 'Name of the API key that set it. NULL without a key.';
COMMENT ON COLUMN rollout.closed_by IS 'Name of the API key that ended it. NULL without a key.';
COMMENT ON CONSTRAINT rollout_pkey ON rollout IS
'No two rollouts of a segment end together, so at most one has no end.';
COMMENT ON CONSTRAINT rollout_overlap_excl ON rollout IS
'One percentage of a segment at a time.';
COMMENT ON INDEX rollout_valid_to_idx IS 'Rollouts in force, adjacent for all segments.';

CREATE TABLE users (
    id bigint NOT NULL,
    first_seen_at timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_id_check CHECK (id > 0)
);

CREATE INDEX users_first_seen_at_idx ON users (first_seen_at);

COMMENT ON TABLE users IS
'Known users: written or asked about at least once. Plural, because USER is a reserved word.';
COMMENT ON COLUMN users.id IS 'The user id, given by the product.';
COMMENT ON COLUMN users.first_seen_at IS
'When the user became known. Percentages apply to a user from then on.';
COMMENT ON INDEX users_first_seen_at_idx IS 'Users who became known in a month, for its report.';

CREATE TABLE membership (
    user_id bigint NOT NULL,
    segment_id bigint NOT NULL,
    included boolean NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    removed boolean NOT NULL DEFAULT FALSE,
    opened_by text,
    closed_by text,
    CONSTRAINT membership_pkey PRIMARY KEY (user_id, valid_to, segment_id),
    CONSTRAINT membership_user_id_check CHECK (user_id > 0),
    CONSTRAINT membership_period_check CHECK (valid_from < valid_to)
    -- No foreign keys: the writing statements take both ids from rows that they hold locked. A
    -- million rows were inserted in 3.3 s without foreign keys, in 6.1 s with one to segment and in
    -- 9.8 s with one to users as well (PostgreSQL 18, two cores).
);

CREATE INDEX membership_segment_id_user_id_idx
ON membership (segment_id, user_id, valid_to) INCLUDE (valid_from, included);
CREATE INDEX membership_valid_from_idx ON membership (valid_from);
CREATE INDEX membership_valid_to_idx ON membership (valid_to) WHERE valid_to < 'infinity';

COMMENT ON TABLE membership IS
'A period in which a user is in a segment by hand, or is excluded from it.';
COMMENT ON COLUMN membership.user_id IS 'The user.';
COMMENT ON COLUMN membership.segment_id IS 'The segment.';
COMMENT ON COLUMN membership.included IS 'TRUE: in the segment. FALSE: excluded from it.';
COMMENT ON COLUMN membership.valid_from IS 'Start, inclusive.';
COMMENT ON COLUMN membership.valid_to IS 'End, exclusive. infinity while it has no end.';
COMMENT ON COLUMN membership.removed IS
'TRUE if a removal ended the included period. Otherwise its end is an expiry.';
COMMENT ON COLUMN membership.opened_by IS 'Name of the API key that wrote it. NULL without a key.';
COMMENT ON COLUMN membership.closed_by IS
'Name of the API key that set valid_to, at once or in advance. NULL without a key.';
COMMENT ON CONSTRAINT membership_pkey ON membership IS
'The current periods of a user are adjacent, however long the history is. No two periods of a user '
'and a segment end together, so at most one has no end.';
COMMENT ON INDEX membership_segment_id_user_id_idx IS
'Members of a segment by user id, counted and listed without the table.';
COMMENT ON INDEX membership_valid_from_idx IS 'Periods that began in a month, for its report.';
COMMENT ON INDEX membership_valid_to_idx IS 'Periods that ended in a month, for its report.';

CREATE TABLE api_key (
    name text COLLATE "C" NOT NULL,
    role text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT 'infinity',
    CONSTRAINT api_key_pkey PRIMARY KEY (name),
    CONSTRAINT api_key_name_check CHECK (name ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'),
    CONSTRAINT api_key_role_check CHECK (role IN ('reader', 'editor')),
    CONSTRAINT api_key_hash_check CHECK (length(hash) = 32)
);

COMMENT ON TABLE api_key IS 'API keys. A key is shown once, when it is created.';
COMMENT ON COLUMN api_key.name IS
'Public part of the key. Never used again, because history and memberships name it.';
COMMENT ON COLUMN api_key.role IS 'reader: reads users. editor: does everything.';
COMMENT ON COLUMN api_key.hash IS
'SHA-256 of the secret part: 256 random bits, which need no salt and no slow hash.';
COMMENT ON COLUMN api_key.created_at IS 'When it was created.';
COMMENT ON COLUMN api_key.revoked_at IS 'When it was revoked. infinity while it is valid.';

-- Everything in it is immutable (text || bigint and convert_to would not be), so the planner
-- inlines it: 0.5 microseconds a point, otherwise 2.3. The cast to bytea interprets backslashes,
-- which no slug contains.
CREATE FUNCTION rollout_point(salt text, user_id bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    'x' || encode(substring(sha256((salt || ':' || user_id::text)::bytea) FROM 1 FOR 4), 'hex')
)::bit(32)::bigint;

COMMENT ON FUNCTION rollout_point(text, bigint) IS
'The point of a user in [0, 2^32): the first four bytes, big-endian, of SHA-256 of salt:user_id.';

CREATE FUNCTION rollout_points(percent numeric) RETURNS int8multirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int8multirange(int8range(0, floor(percent * 4294967296 / 100)::bigint));

COMMENT ON FUNCTION rollout_points(numeric) IS
'The points of a rollout: one range from 0. Empty for 0 per cent, all points for 100 per cent.';

-- The stays are the periods by hand, and the times of rollouts that admit the user, from when the
-- user was known and minus the times decided by hand, all inside the life of the segment. range_agg
-- and the operators of multiranges compute them exactly.
CREATE FUNCTION stay_events(for_user_id bigint, for_segment_id bigint)
RETURNS TABLE (at timestamptz, operation text, cause text, actor text)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
SELECT
    event.at,
    event.operation,
    why.cause,
    CASE why.cause
        WHEN 'segment_deleted' THEN s.deleted_by
        WHEN 'rollout' THEN (
            SELECT CASE event.operation WHEN 'add' THEN r.opened_by ELSE r.closed_by END
            FROM rollout AS r
            WHERE
                r.segment_id = for_segment_id
                AND CASE event.operation WHEN 'add' THEN r.valid_from ELSE r.valid_to END = event.at
        )
        ELSE (
            SELECT max(CASE WHEN m.valid_from = event.at THEN m.opened_by ELSE m.closed_by END)
            FROM membership AS m
            WHERE
                m.user_id = for_user_id
                AND m.segment_id = for_segment_id
                AND CASE
                    WHEN event.operation = 'add' THEN m.included AND m.valid_from = event.at
                    WHEN m.included THEN m.valid_to = event.at
                    ELSE m.valid_from = event.at
                END
        )
    END AS actor
FROM segment AS s
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            range_agg(tstzrange(m.valid_from, m.valid_to)) FILTER (WHERE m.included), '{}'
        ) AS included,
        coalesce(
            range_agg(tstzrange(m.valid_from, m.valid_to)) FILTER (WHERE NOT m.included), '{}'
        ) AS excluded
    FROM membership AS m
    WHERE m.user_id = for_user_id AND m.segment_id = for_segment_id
) AS by_hand
CROSS JOIN LATERAL (
    SELECT coalesce(range_agg(tstzrange(r.valid_from, r.valid_to)), '{}') AS admitted
    FROM rollout AS r
    WHERE r.segment_id = for_segment_id AND rollout_point(r.salt, for_user_id) <@ r.points
) AS by_rollout
CROSS JOIN LATERAL (
    SELECT coalesce(range_agg(tstzrange(u.first_seen_at, 'infinity')), '{}') AS known
    FROM users AS u
    WHERE u.id = for_user_id
) AS registered
CROSS JOIN LATERAL unnest(
    (by_hand.included + (by_rollout.admitted * registered.known - by_hand.excluded))
    * tstzmultirange(tstzrange(s.created_at, s.deleted_at))
) AS stay (period)
CROSS JOIN LATERAL (
    VALUES (lower(stay.period), 'add'), (upper(stay.period), 'remove')
) AS event (at, operation)
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN event.operation = 'add' THEN
                CASE
                    WHEN EXISTS (
                        SELECT FROM membership AS m
                        WHERE
                            m.user_id = for_user_id
                            AND m.segment_id = for_segment_id
                            AND m.included
                            AND m.valid_from = event.at
                    ) THEN 'added'
                    ELSE 'rollout'
                END
            WHEN event.at = s.deleted_at THEN 'segment_deleted'
            ELSE coalesce(
                (
                    SELECT
                        CASE
                            WHEN bool_or(m.removed OR NOT m.included) THEN 'removed'
                            ELSE 'expired'
                        END
                    FROM membership AS m
                    WHERE
                        m.user_id = for_user_id
                        AND m.segment_id = for_segment_id
                        AND CASE WHEN m.included THEN m.valid_to ELSE m.valid_from END = event.at
                    HAVING count(*) > 0
                ),
                'rollout'
            )
        END AS cause
) AS why
WHERE s.id = for_segment_id AND event.at <= now()
$$;

COMMENT ON FUNCTION stay_events(bigint, bigint) IS
'Events of a user in a segment up to now: the start of each stay is an add, its end a remove, each '
'with its cause and the name of the API key (NULL if the user became known, or without a key).';
