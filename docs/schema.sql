CREATE FUNCTION public.rollout_point(slug text, user_id bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((('x'::text || encode(SUBSTRING(sha256((((slug || ':'::text) || (user_id)::text))::bytea) FROM 1 FOR 4), 'hex'::text)))::bit(32))::bigint;

CREATE FUNCTION public.stay_events(for_user_id bigint, for_segment_id bigint) RETURNS TABLE(at timestamp with time zone, operation text, cause text, actor text)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
SELECT
    bound.at,
    bound.operation,
    why.cause,
    CASE why.cause
        WHEN 'segment_deleted' THEN s.deleted_by
        WHEN 'rollout' THEN (
            SELECT CASE bound.operation WHEN 'add' THEN r.opened_by ELSE r.closed_by END
            FROM rollout AS r
            WHERE
                r.segment_id = for_segment_id
                AND CASE bound.operation WHEN 'add' THEN r.valid_from ELSE r.valid_to END = bound.at
        )
        ELSE (
            SELECT max(CASE WHEN m.valid_from = bound.at THEN m.opened_by ELSE m.closed_by END)
            FROM membership AS m
            WHERE
                m.user_id = for_user_id
                AND m.segment_id = for_segment_id
                AND CASE
                    WHEN bound.operation = 'add' THEN m.included AND m.valid_from = bound.at
                    WHEN m.included THEN m.valid_to = bound.at
                    ELSE m.valid_from = bound.at
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
    WHERE r.segment_id = for_segment_id AND rollout_point(s.slug, for_user_id) < r.threshold
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
) AS bound (at, operation)
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN bound.operation = 'add' THEN
                CASE
                    WHEN EXISTS (
                        SELECT FROM membership AS m
                        WHERE
                            m.user_id = for_user_id
                            AND m.segment_id = for_segment_id
                            AND m.included
                            AND m.valid_from = bound.at
                    ) THEN 'added'
                    ELSE 'rollout'
                END
            WHEN bound.at = s.deleted_at THEN 'segment_deleted'
            ELSE coalesce(
                (
                    SELECT CASE WHEN bool_or(m.removed OR NOT m.included) THEN 'removed' ELSE 'expired' END
                    FROM membership AS m
                    WHERE
                        m.user_id = for_user_id
                        AND m.segment_id = for_segment_id
                        AND CASE WHEN m.included THEN m.valid_to ELSE m.valid_from END = bound.at
                    HAVING count(*) > 0
                ),
                'rollout'
            )
        END AS cause
) AS why
WHERE s.id = for_segment_id AND bound.at <= now()
$$;

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

CREATE TABLE public.membership (
    user_id bigint NOT NULL,
    segment_id bigint NOT NULL,
    included boolean NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    removed boolean DEFAULT false NOT NULL,
    opened_by text,
    closed_by text,
    CONSTRAINT membership_period_check CHECK ((valid_from < valid_to)),
    CONSTRAINT membership_user_id_check CHECK ((user_id > 0))
);

CREATE TABLE public.rollout (
    segment_id bigint NOT NULL,
    percent numeric(5,2) NOT NULL,
    threshold bigint GENERATED ALWAYS AS ((floor(((percent * ('4294967296'::bigint)::numeric) / (100)::numeric)))::bigint) STORED NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    opened_by text,
    closed_by text,
    CONSTRAINT rollout_percent_check CHECK (((percent >= (0)::numeric) AND (percent <= (100)::numeric))),
    CONSTRAINT rollout_period_check CHECK ((valid_from < valid_to))
);

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

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_pkey PRIMARY KEY (user_id, valid_to, segment_id);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_overlap_excl EXCLUDE USING gist (int8range(segment_id, segment_id, '[]'::text) WITH &&, tstzrange(valid_from, valid_to) WITH &&);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_pkey PRIMARY KEY (segment_id, valid_to);

ALTER TABLE ONLY public.segment
    ADD CONSTRAINT segment_deleted_at_slug_key UNIQUE (deleted_at, slug);

ALTER TABLE ONLY public.segment
    ADD CONSTRAINT segment_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX membership_segment_id_user_id_idx ON public.membership USING btree (segment_id, user_id, valid_to) INCLUDE (valid_from, included);

CREATE INDEX membership_valid_from_idx ON public.membership USING btree (valid_from);

CREATE INDEX membership_valid_to_idx ON public.membership USING btree (valid_to) WHERE (valid_to < 'infinity'::timestamp with time zone);

CREATE INDEX rollout_valid_to_idx ON public.rollout USING btree (valid_to);

CREATE INDEX users_first_seen_at_idx ON public.users USING btree (first_seen_at);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES public.segment(id);
