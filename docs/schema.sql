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

CREATE TABLE public.layer_segment (
    segment_id bigint NOT NULL,
    layer_id bigint NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    opened_by text,
    closed_by text,
    CONSTRAINT layer_segment_period_check CHECK ((valid_from < valid_to))
);

COMMENT ON TABLE public.layer_segment IS 'A period in which a segment is in a layer. It is inside the lives of both.';

COMMENT ON COLUMN public.layer_segment.segment_id IS 'The segment.';

COMMENT ON COLUMN public.layer_segment.layer_id IS 'The layer.';

COMMENT ON COLUMN public.layer_segment.valid_from IS 'Start, inclusive.';

COMMENT ON COLUMN public.layer_segment.valid_to IS 'End, exclusive: that of the segment, until it leaves the layer before.';

COMMENT ON COLUMN public.layer_segment.opened_by IS 'Name of the API key that put the segment into the layer. NULL without a key.';

COMMENT ON COLUMN public.layer_segment.closed_by IS 'Name of the API key that set valid_to, at once or in advance. NULL without a key.';

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
    moved boolean DEFAULT false NOT NULL,
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

COMMENT ON COLUMN public.membership.moved IS 'TRUE if an addition to another segment of the layer ended the included period.';

CREATE VIEW public.elsewhere AS
 SELECT m.user_id,
    mine.segment_id,
    m.segment_id AS by_segment_id,
    m.valid_from AS began_at,
    GREATEST(m.valid_from, mine.valid_from, other.valid_from) AS valid_from,
    LEAST(m.valid_to, mine.valid_to, other.valid_to) AS valid_to,
        CASE GREATEST(m.valid_from, mine.valid_from, other.valid_from)
            WHEN m.valid_from THEN m.opened_by
            WHEN mine.valid_from THEN mine.opened_by
            ELSE other.opened_by
        END AS opened_by,
        CASE LEAST(m.valid_to, mine.valid_to, other.valid_to)
            WHEN m.valid_to THEN m.closed_by
            WHEN mine.valid_to THEN mine.closed_by
            ELSE other.closed_by
        END AS closed_by
   FROM ((public.layer_segment mine
     JOIN public.layer_segment other ON (((mine.layer_id = other.layer_id) AND (mine.segment_id <> other.segment_id))))
     JOIN public.membership m ON (((other.segment_id = m.segment_id) AND m.included)))
  WHERE (GREATEST(m.valid_from, mine.valid_from, other.valid_from) < LEAST(m.valid_to, mine.valid_to, other.valid_to));

COMMENT ON VIEW public.elsewhere IS 'What keeps users out of a segment: the times at which they are included by hand in another segment of its layer.';

COMMENT ON COLUMN public.elsewhere.user_id IS 'The user.';

COMMENT ON COLUMN public.elsewhere.segment_id IS 'The segment that the user is kept out of.';

COMMENT ON COLUMN public.elsewhere.by_segment_id IS 'The other segment of the layer.';

COMMENT ON COLUMN public.elsewhere.began_at IS 'Start of the included period in the other segment: of two such periods, the later one counts.';

COMMENT ON COLUMN public.elsewhere.valid_from IS 'Start of that period and of both segments in the layer, whichever is last.';

COMMENT ON COLUMN public.elsewhere.valid_to IS 'End of that period or of either segment in the layer, whichever is first.';

COMMENT ON COLUMN public.elsewhere.opened_by IS 'Name of the API key behind valid_from.';

COMMENT ON COLUMN public.elsewhere.closed_by IS 'Name of the API key behind valid_to.';

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
    layer_id bigint,
    CONSTRAINT rollout_percent_check CHECK (((percent >= (0)::numeric) AND (percent <= (100)::numeric))),
    CONSTRAINT rollout_period_check CHECK ((valid_from < valid_to)),
    CONSTRAINT rollout_points_check CHECK ((points <@ '[0,4294967296)'::int8range))
);

COMMENT ON TABLE public.rollout IS 'A percentage of users that a segment takes automatically, from valid_from to valid_to.';

COMMENT ON COLUMN public.rollout.segment_id IS 'The segment.';

COMMENT ON COLUMN public.rollout.percent IS 'The percentage: 0.00 to 100.00.';

COMMENT ON COLUMN public.rollout.salt IS 'Input of rollout_point beside the user id: the slug of the segment, or the salt of its layer.';

COMMENT ON COLUMN public.rollout.points IS 'The points that the rollout owns, of [0, 2^32): a user whose point is among them is in.';

COMMENT ON COLUMN public.rollout.threshold IS 'Upper bound of points if they are one range from 0, otherwise NULL. For the hot read.';

COMMENT ON COLUMN public.rollout.valid_from IS 'Start, inclusive.';

COMMENT ON COLUMN public.rollout.valid_to IS 'End, exclusive. infinity while it has no end.';

COMMENT ON COLUMN public.rollout.opened_by IS 'Name of the API key that set it. NULL without a key.';

COMMENT ON COLUMN public.rollout.closed_by IS 'Name of the API key that ended it. NULL without a key.';

COMMENT ON COLUMN public.rollout.planned IS 'TRUE if it was written before its start. Until then, a later plan may replace it.';

COMMENT ON COLUMN public.rollout.layer_id IS 'The layer of the segment during the rollout. NULL while the segment is in none.';

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

CREATE FUNCTION public.stay_events(life public.segment, first_seen_at timestamp with time zone, by_hand public.membership[], rollouts public.rollout[], elsewhere public.elsewhere[]) RETURNS TABLE(at timestamp with time zone, operation text, cause text, actor text)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
WITH hand AS (
    SELECT
        coalesce(
            range_agg(tstzrange(m.valid_from, m.valid_to)) FILTER (WHERE m.included), '{}'
        ) AS included,
        coalesce(range_agg(tstzrange(m.valid_from, m.valid_to)), '{}') AS decided
    FROM unnest(by_hand) AS m
),

bound AS (
    SELECT
        end_of_stay.at,
        end_of_stay.operation
    FROM hand
    -- Without rollouts, and elsewhere, nothing is computed for them.
    CROSS JOIN LATERAL unnest(
        (
            hand.included
            - CASE
                WHEN elsewhere IS NULL THEN '{}'
                ELSE (
                    SELECT
                        coalesce(
                            range_agg(
                                tstzrange(m.valid_from, m.valid_to)
                                * tstzrange(e.valid_from, e.valid_to)
                            ),
                            '{}'
                        )
                    FROM unnest(by_hand) AS m
                    INNER JOIN unnest(elsewhere) AS e
                        ON
                            m.valid_from < e.valid_to
                            AND e.valid_from < m.valid_to
                            AND (e.began_at, e.by_segment_id) > (m.valid_from, m.segment_id)
                    WHERE m.included
                )
            END
            + CASE
                WHEN rollouts IS NULL THEN '{}'
                ELSE
                    (
                        SELECT range_agg(tstzrange(r.valid_from, r.valid_to))
                        FROM unnest(rollouts) AS r
                    )
                    * tstzmultirange(tstzrange(coalesce(first_seen_at, 'infinity'), 'infinity'))
                    - hand.decided
                    - CASE
                        WHEN elsewhere IS NULL THEN '{}'
                        ELSE (
                            SELECT range_agg(tstzrange(e.valid_from, e.valid_to))
                            FROM unnest(elsewhere) AS e
                        )
                    END
            END
        )
        * tstzmultirange(tstzrange((life).created_at, (life).deleted_at))
    ) AS stay (period)
    CROSS JOIN LATERAL (
        VALUES (lower(stay.period), 'add'), (upper(stay.period), 'remove')
    ) AS end_of_stay (at, operation)
),

event AS (
    SELECT
        bound.at,
        bound.operation,
        (
            -- The first reason that applies; the last one is that the user became known.
            SELECT ARRAY[reason.cause, reason.actor]
            FROM (
                SELECT
                    1 AS ordinal,
                    'segment_deleted' AS cause,
                    (life).deleted_by AS actor
                WHERE bound.operation = 'remove' AND (life).deleted_at = bound.at
                UNION ALL
                SELECT
                    2 AS ordinal,
                    CASE
                        WHEN bound.operation = 'add' THEN 'added'
                        WHEN m.moved THEN 'moved'
                        WHEN m.removed OR NOT m.included THEN 'removed'
                        ELSE 'expired'
                    END AS cause,
                    CASE WHEN m.valid_from = bound.at THEN m.opened_by ELSE m.closed_by END AS actor
                FROM unnest(by_hand) AS m
                WHERE
                    CASE
                        WHEN bound.operation = 'add' THEN m.included AND m.valid_from = bound.at
                        WHEN m.included THEN m.valid_to = bound.at
                        ELSE m.valid_from = bound.at
                    END
                UNION ALL
                SELECT
                    3 AS ordinal,
                    'layer' AS cause,
                    CASE bound.operation WHEN 'add' THEN e.closed_by ELSE e.opened_by END AS actor
                FROM unnest(elsewhere) AS e
                WHERE
                    CASE bound.operation WHEN 'add' THEN e.valid_to ELSE e.valid_from END = bound.at
                UNION ALL
                SELECT
                    4 AS ordinal,
                    'rollout' AS cause,
                    CASE bound.operation WHEN 'add' THEN r.opened_by ELSE r.closed_by END AS actor
                FROM unnest(rollouts) AS r
                WHERE
                    CASE bound.operation WHEN 'add' THEN r.valid_from ELSE r.valid_to END = bound.at
                UNION ALL
                SELECT
                    5 AS ordinal,
                    'rollout' AS cause,
                    NULL AS actor
            ) AS reason
            ORDER BY reason.ordinal, reason.cause DESC, reason.actor DESC NULLS LAST
            LIMIT 1
        ) AS why
    FROM bound
)

SELECT
    event.at,
    event.operation,
    event.why[1] AS cause,
    event.why[2] AS actor
FROM event
WHERE event.at <= now()
$$;

COMMENT ON FUNCTION public.stay_events(life public.segment, first_seen_at timestamp with time zone, by_hand public.membership[], rollouts public.rollout[], elsewhere public.elsewhere[]) IS 'Events of a user in a segment up to now: the start of each stay is an add, its end a remove, each with its cause and the name of the API key (NULL if the user became known, or without a key). It reads no table: the rollouts are those that own the point of the user.';

CREATE TABLE public.api_key (
    name text NOT NULL COLLATE pg_catalog."C",
    role text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT api_key_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT api_key_name_check CHECK ((name ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'::text)),
    CONSTRAINT api_key_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'follower'::text, 'editor'::text])))
);

COMMENT ON TABLE public.api_key IS 'API keys. A key is shown once, when it is created.';

COMMENT ON COLUMN public.api_key.name IS 'Public part of the key. Never used again, because history and memberships name it.';

COMMENT ON COLUMN public.api_key.role IS 'reader: reads users. follower: also members and the feed. editor: does everything.';

COMMENT ON COLUMN public.api_key.hash IS 'SHA-256 of the secret part: 256 random bits, which need no salt and no slow hash.';

COMMENT ON COLUMN public.api_key.created_at IS 'When it was created.';

COMMENT ON COLUMN public.api_key.revoked_at IS 'When it was revoked. infinity while it is valid.';

CREATE TABLE public.audit (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text,
    request_id text,
    action text NOT NULL,
    slug text COLLATE pg_catalog."C",
    details json NOT NULL
);

COMMENT ON TABLE public.audit IS 'One row for each change of a segment, a layer, many members at once, or a key, written in its transaction, and for each user who was erased. Changes of single users are periods.';

COMMENT ON COLUMN public.audit.id IS 'Key, in the order of the writing.';

COMMENT ON COLUMN public.audit.at IS 'When it was written.';

COMMENT ON COLUMN public.audit.actor IS 'Name of the API key that made the change. NULL without a key, and for the command line.';

COMMENT ON COLUMN public.audit.request_id IS 'X-Request-ID of the request. NULL for the command line.';

COMMENT ON COLUMN public.audit.action IS 'What was done, such as segment.change.';

COMMENT ON COLUMN public.audit.slug IS 'The segment, the layer, or the name of the key. NULL when a user was erased.';

COMMENT ON COLUMN public.audit.details IS 'What was changed, before and after, or the counts of many members. No user ids.';

ALTER TABLE public.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.feed (
    singleton boolean DEFAULT true NOT NULL,
    horizon timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    pruned_before timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT feed_singleton_check CHECK (singleton)
);

COMMENT ON TABLE public.feed IS 'How far the feed of events was served: one row.';

COMMENT ON COLUMN public.feed.singleton IS 'TRUE: there is one row.';

COMMENT ON COLUMN public.feed.horizon IS 'No event before it appears any more: every write uses a time after it, wherever the clock is.';

COMMENT ON COLUMN public.feed.pruned_before IS 'Events before it may be gone: who followed the feed until then has to list the members again.';

CREATE TABLE public.layer (
    id bigint NOT NULL,
    slug text NOT NULL COLLATE pg_catalog."C",
    salt text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    created_by text,
    deleted_by text,
    CONSTRAINT layer_life_check CHECK ((created_at < deleted_at)),
    CONSTRAINT layer_slug_check CHECK ((slug ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'::text))
);

COMMENT ON TABLE public.layer IS 'A named set of segments of which a user is in at most one at any time.';

COMMENT ON COLUMN public.layer.id IS 'Key of this life of the slug.';

COMMENT ON COLUMN public.layer.slug IS 'The name. Layers and segments may have the same names.';

COMMENT ON COLUMN public.layer.salt IS 'Input of rollout_point beside the user id: one point for all percentages of the layer.';

COMMENT ON COLUMN public.layer.created_at IS 'Start of the life, inclusive.';

COMMENT ON COLUMN public.layer.deleted_at IS 'End of the life, exclusive. infinity while it is live.';

COMMENT ON COLUMN public.layer.created_by IS 'Name of the API key that created it. NULL without a key.';

COMMENT ON COLUMN public.layer.deleted_by IS 'Name of the API key that deleted it. NULL without a key.';

ALTER TABLE public.layer ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.layer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

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

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.feed
    ADD CONSTRAINT feed_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.layer
    ADD CONSTRAINT layer_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.layer_segment
    ADD CONSTRAINT layer_segment_overlap_excl EXCLUDE USING gist (int8range(segment_id, segment_id, '[]'::text) WITH &&, tstzrange(valid_from, valid_to) WITH &&);

COMMENT ON CONSTRAINT layer_segment_overlap_excl ON public.layer_segment IS 'One layer of a segment at a time.';

ALTER TABLE ONLY public.layer_segment
    ADD CONSTRAINT layer_segment_pkey PRIMARY KEY (segment_id, valid_to);

ALTER TABLE ONLY public.layer
    ADD CONSTRAINT layer_slug_deleted_at_key UNIQUE (slug, deleted_at);

COMMENT ON CONSTRAINT layer_slug_deleted_at_key ON public.layer IS 'At most one live layer a slug.';

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_pkey PRIMARY KEY (user_id, valid_to, segment_id);

COMMENT ON CONSTRAINT membership_pkey ON public.membership IS 'The current periods of a user are adjacent, however long the history is. No two periods of a user and a segment end together, so at most one has no end.';

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_overlap_excl EXCLUDE USING gist (int8range(segment_id, segment_id, '[]'::text) WITH &&, tstzrange(valid_from, valid_to) WITH &&);

COMMENT ON CONSTRAINT rollout_overlap_excl ON public.rollout IS 'One percentage of a segment at a time.';

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_pkey PRIMARY KEY (segment_id, valid_to);

COMMENT ON CONSTRAINT rollout_pkey ON public.rollout IS 'No two rollouts of a segment end together, so at most one has no end.';

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_points_excl EXCLUDE USING gist (int8range(layer_id, layer_id, '[]'::text) WITH &&, points WITH &&, tstzrange(valid_from, valid_to) WITH &&) WHERE ((layer_id IS NOT NULL));

COMMENT ON CONSTRAINT rollout_points_excl ON public.rollout IS 'A point of a layer belongs to one segment at a time, in plans too.';

ALTER TABLE ONLY public.segment
    ADD CONSTRAINT segment_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX audit_actor_id_idx ON public.audit USING btree (actor, id);

COMMENT ON INDEX public.audit_actor_id_idx IS 'Pages of one API key, newest first.';

CREATE INDEX audit_at_idx ON public.audit USING btree (at);

COMMENT ON INDEX public.audit_at_idx IS 'Rows from before a month, for prune.';

CREATE INDEX audit_slug_id_idx ON public.audit USING btree (slug, id);

COMMENT ON INDEX public.audit_slug_id_idx IS 'Pages of one segment, layer or key, newest first.';

CREATE INDEX layer_segment_layer_id_idx ON public.layer_segment USING btree (layer_id);

COMMENT ON INDEX public.layer_segment_layer_id_idx IS 'The segments of a layer.';

CREATE INDEX membership_segment_id_user_id_idx ON public.membership USING btree (segment_id, user_id, valid_to) INCLUDE (valid_from, included);

COMMENT ON INDEX public.membership_segment_id_user_id_idx IS 'Members of a segment by user id, counted and listed without the table.';

CREATE INDEX membership_valid_from_segment_id_user_id_idx ON public.membership USING btree (valid_from, segment_id, user_id);

COMMENT ON INDEX public.membership_valid_from_segment_id_user_id_idx IS 'Periods in the order of their starts, for the feed and for the report of a month.';

CREATE INDEX membership_valid_to_segment_id_user_id_idx ON public.membership USING btree (valid_to, segment_id, user_id) WHERE (valid_to < 'infinity'::timestamp with time zone);

COMMENT ON INDEX public.membership_valid_to_segment_id_user_id_idx IS 'Periods in the order of their ends, for the feed and for the report of a month.';

CREATE INDEX rollout_valid_to_idx ON public.rollout USING btree (valid_to);

COMMENT ON INDEX public.rollout_valid_to_idx IS 'Rollouts in force, adjacent for all segments.';

CREATE INDEX segment_deleted_at_idx ON public.segment USING btree (deleted_at);

COMMENT ON INDEX public.segment_deleted_at_idx IS 'Segments that ended in a month, or before a time.';

CREATE UNIQUE INDEX segment_slug_deleted_at_key ON public.segment USING btree (slug, deleted_at);

COMMENT ON INDEX public.segment_slug_deleted_at_key IS 'The lives of a slug, the live one last. No two of them end together.';

CREATE INDEX users_first_seen_at_id_idx ON public.users USING btree (first_seen_at, id);

COMMENT ON INDEX public.users_first_seen_at_id_idx IS 'Users in the order in which they became known, for the feed and for the report of a month.';

ALTER TABLE ONLY public.layer_segment
    ADD CONSTRAINT layer_segment_layer_id_fkey FOREIGN KEY (layer_id) REFERENCES public.layer(id);

ALTER TABLE ONLY public.layer_segment
    ADD CONSTRAINT layer_segment_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES public.segment(id);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_layer_id_fkey FOREIGN KEY (layer_id) REFERENCES public.layer(id);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES public.segment(id);
