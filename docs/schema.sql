CREATE FUNCTION public.rollout_point(salt text, user_id bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((('x'::text || encode(SUBSTRING(sha256((((salt || ':'::text) || (user_id)::text))::bytea) FROM 1 FOR 4), 'hex'::text)))::bit(32))::bigint;

COMMENT ON FUNCTION public.rollout_point(salt text, user_id bigint) IS 'The point of a user in [0, 2^32): the first four bytes, big-endian, of SHA-256 of salt:user_id.';

CREATE FUNCTION public.rollout_points(percent numeric) RETURNS int8multirange
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN int8multirange(int8range((0)::bigint, (floor(((percent * ('4294967296'::bigint)::numeric) / (100)::numeric)))::bigint));

COMMENT ON FUNCTION public.rollout_points(percent numeric) IS 'The points of a rollout: one range from 0. Empty for 0 per cent, all points for 100 per cent.';

CREATE FUNCTION public.stay_events(for_user_id bigint, for_segment_id bigint) RETURNS TABLE(at timestamp with time zone, operation text, cause text, actor text)
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

COMMENT ON FUNCTION public.stay_events(for_user_id bigint, for_segment_id bigint) IS 'Events of a user in a segment up to now: the start of each stay is an add, its end a remove, each with its cause and the name of the API key (NULL if the user became known, or without a key).';

CREATE TABLE public.api_key (
    name text NOT NULL COLLATE pg_catalog."C",
    role text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT api_key_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT api_key_name_check CHECK ((name ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'::text)),
    CONSTRAINT api_key_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'editor'::text])))
);

COMMENT ON TABLE public.api_key IS 'API keys. A key is shown once, when it is created.';

COMMENT ON COLUMN public.api_key.name IS 'Public part of the key. Never used again, because history and memberships name it.';

COMMENT ON COLUMN public.api_key.role IS 'reader: reads users. editor: does everything.';

COMMENT ON COLUMN public.api_key.hash IS 'SHA-256 of the secret part: 256 random bits, which need no salt and no slow hash.';

COMMENT ON COLUMN public.api_key.created_at IS 'When it was created.';

COMMENT ON COLUMN public.api_key.revoked_at IS 'When it was revoked. infinity while it is valid.';

CREATE TABLE public.membership (
    user_id bigint NOT NULL,
    segment_id bigint NOT NULL,
    included boolean NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    removed boolean DEFAULT false NOT NULL,
    opened_by text,
    closed_by text,
    planned boolean DEFAULT false NOT NULL,
    CONSTRAINT membership_period_check CHECK ((valid_from < valid_to)),
    CONSTRAINT membership_user_id_check CHECK ((user_id > 0))
);

COMMENT ON TABLE public.membership IS 'A period in which a user is in a segment by hand, or is excluded from it.';

COMMENT ON COLUMN public.membership.user_id IS 'The user.';

COMMENT ON COLUMN public.membership.segment_id IS 'The segment.';

COMMENT ON COLUMN public.membership.included IS 'TRUE: in the segment. FALSE: excluded from it.';

COMMENT ON COLUMN public.membership.valid_from IS 'Start, inclusive.';

COMMENT ON COLUMN public.membership.valid_to IS 'End, exclusive. infinity while it has no end.';

COMMENT ON COLUMN public.membership.removed IS 'TRUE if a removal ended the included period. Otherwise its end is an expiry.';

COMMENT ON COLUMN public.membership.opened_by IS 'Name of the API key that wrote it. NULL without a key.';

COMMENT ON COLUMN public.membership.closed_by IS 'Name of the API key that set valid_to, at once or in advance. NULL without a key.';

COMMENT ON COLUMN public.membership.planned IS 'TRUE if it was written before its start. Until then, a later write may replace it.';

CREATE TABLE public.rollout (
    segment_id bigint NOT NULL,
    percent numeric(5,2) NOT NULL,
    salt text NOT NULL COLLATE pg_catalog."C",
    points int8multirange NOT NULL,
    threshold bigint GENERATED ALWAYS AS (
CASE
    WHEN isempty(points) THEN (0)::bigint
    WHEN ((lower(points) = 0) AND (points = int8multirange(range_merge(points)))) THEN upper(points)
    ELSE NULL::bigint
END) STORED,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    opened_by text,
    closed_by text,
    planned boolean DEFAULT false NOT NULL,
    CONSTRAINT rollout_percent_check CHECK (((percent >= (0)::numeric) AND (percent <= (100)::numeric))),
    CONSTRAINT rollout_period_check CHECK ((valid_from < valid_to)),
    CONSTRAINT rollout_points_check CHECK ((points <@ '[0,4294967296)'::int8range))
);

COMMENT ON TABLE public.rollout IS 'A percentage of users that a segment takes automatically, from valid_from to valid_to.';

COMMENT ON COLUMN public.rollout.segment_id IS 'The segment.';

COMMENT ON COLUMN public.rollout.percent IS 'The percentage: 0.00 to 100.00.';

COMMENT ON COLUMN public.rollout.salt IS 'Input of rollout_point beside the user id. The slug of the segment.';

COMMENT ON COLUMN public.rollout.points IS 'The points that the rollout owns, of [0, 2^32): a user whose point is among them is in.';

COMMENT ON COLUMN public.rollout.threshold IS 'Upper bound of points if they are one range from 0, otherwise NULL. For the hot read.';

COMMENT ON COLUMN public.rollout.valid_from IS 'Start, inclusive.';

COMMENT ON COLUMN public.rollout.valid_to IS 'End, exclusive. infinity while it has no end.';

COMMENT ON COLUMN public.rollout.opened_by IS 'Name of the API key that set it. NULL without a key.';

COMMENT ON COLUMN public.rollout.closed_by IS 'Name of the API key that ended it. NULL without a key.';

COMMENT ON COLUMN public.rollout.planned IS 'TRUE if it was written before its start. Until then, a later plan may replace it.';

CREATE TABLE public.segment (
    id bigint NOT NULL,
    slug text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    created_by text,
    deleted_by text,
    CONSTRAINT segment_life_check CHECK ((created_at < deleted_at)),
    CONSTRAINT segment_slug_check CHECK ((slug ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'::text))
);

COMMENT ON TABLE public.segment IS 'A named group of users. A row is one life of a slug, from created_at to deleted_at.';

COMMENT ON COLUMN public.segment.id IS 'Key of this life of the slug.';

COMMENT ON COLUMN public.segment.slug IS 'The name. Compared and sorted bytewise, as the HTTP API promises.';

COMMENT ON COLUMN public.segment.description IS 'What the segment is for.';

COMMENT ON COLUMN public.segment.created_at IS 'Start of the life, inclusive.';

COMMENT ON COLUMN public.segment.deleted_at IS 'End of the life, exclusive. In the future if it is planned, infinity while there is none.';

COMMENT ON COLUMN public.segment.created_by IS 'Name of the API key that created it. NULL without a key.';

COMMENT ON COLUMN public.segment.deleted_by IS 'Name of the API key that set deleted_at, at once or in advance. NULL without a key.';

ALTER TABLE public.segment ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.segment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.users (
    id bigint NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT users_id_check CHECK ((id > 0))
);

COMMENT ON TABLE public.users IS 'Known users: written or asked about at least once. Plural, because USER is a reserved word.';

COMMENT ON COLUMN public.users.id IS 'The user id, given by the product.';

COMMENT ON COLUMN public.users.first_seen_at IS 'When the user became known. Percentages apply to a user from then on.';

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_pkey PRIMARY KEY (user_id, valid_to, segment_id);

COMMENT ON CONSTRAINT membership_pkey ON public.membership IS 'The current periods of a user are adjacent, however long the history is. No two periods of a user and a segment end together, so at most one has no end.';

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_overlap_excl EXCLUDE USING gist (int8range(segment_id, segment_id, '[]'::text) WITH &&, tstzrange(valid_from, valid_to) WITH &&);

COMMENT ON CONSTRAINT rollout_overlap_excl ON public.rollout IS 'One percentage of a segment at a time.';

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_pkey PRIMARY KEY (segment_id, valid_to);

COMMENT ON CONSTRAINT rollout_pkey ON public.rollout IS 'No two rollouts of a segment end together, so at most one has no end.';

ALTER TABLE ONLY public.segment
    ADD CONSTRAINT segment_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX membership_segment_id_user_id_idx ON public.membership USING btree (segment_id, user_id, valid_to) INCLUDE (valid_from, included);

COMMENT ON INDEX public.membership_segment_id_user_id_idx IS 'Members of a segment by user id, counted and listed without the table.';

CREATE INDEX membership_valid_from_idx ON public.membership USING btree (valid_from);

COMMENT ON INDEX public.membership_valid_from_idx IS 'Periods that began in a month, for its report.';

CREATE INDEX membership_valid_to_idx ON public.membership USING btree (valid_to) WHERE (valid_to < 'infinity'::timestamp with time zone);

COMMENT ON INDEX public.membership_valid_to_idx IS 'Periods that ended in a month, for its report.';

CREATE INDEX rollout_valid_to_idx ON public.rollout USING btree (valid_to);

COMMENT ON INDEX public.rollout_valid_to_idx IS 'Rollouts in force, adjacent for all segments.';

CREATE INDEX segment_deleted_at_idx ON public.segment USING btree (deleted_at);

COMMENT ON INDEX public.segment_deleted_at_idx IS 'Segments that ended in a month, or before a time.';

CREATE UNIQUE INDEX segment_slug_deleted_at_key ON public.segment USING btree (slug, deleted_at);

COMMENT ON INDEX public.segment_slug_deleted_at_key IS 'The lives of a slug, the live one last. No two of them end together.';

CREATE INDEX users_first_seen_at_idx ON public.users USING btree (first_seen_at);

COMMENT ON INDEX public.users_first_seen_at_idx IS 'Users who became known in a month, for its report.';

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES public.segment(id);
