-- Layers: named sets of segments of which a user is in at most one at any time.
-- depends: 0002.plans

CREATE TABLE layer (
    id bigint GENERATED ALWAYS AS IDENTITY,
    slug text COLLATE "C" NOT NULL,
    salt text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT 'infinity',
    created_by text,
    deleted_by text,
    CONSTRAINT layer_pkey PRIMARY KEY (id),
    CONSTRAINT layer_slug_deleted_at_key UNIQUE (slug, deleted_at),
    CONSTRAINT layer_slug_check CHECK (slug ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'),
    CONSTRAINT layer_life_check CHECK (created_at < deleted_at)
);

COMMENT ON TABLE layer IS
'A named set of segments of which a user is in at most one at any time.';
COMMENT ON COLUMN layer.id IS 'Key of this life of the slug.';
COMMENT ON COLUMN layer.slug IS 'The name. Layers and segments may have the same names.';
COMMENT ON COLUMN layer.salt IS
'Input of rollout_point beside the user id: one point for all percentages of the layer.';
COMMENT ON COLUMN layer.created_at IS 'Start of the life, inclusive.';
COMMENT ON COLUMN layer.deleted_at IS 'End of the life, exclusive. infinity while it is live.';
COMMENT ON COLUMN layer.created_by IS 'Name of the API key that created it. NULL without a key.';
COMMENT ON COLUMN layer.deleted_by IS 'Name of the API key that deleted it. NULL without a key.';
COMMENT ON CONSTRAINT layer_slug_deleted_at_key ON layer IS 'At most one live layer a slug.';

CREATE TABLE layer_segment (
    segment_id bigint NOT NULL,
    layer_id bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    opened_by text,
    closed_by text,
    CONSTRAINT layer_segment_pkey PRIMARY KEY (segment_id, valid_to),
    CONSTRAINT layer_segment_segment_id_fkey FOREIGN KEY (segment_id) REFERENCES segment (id),
    CONSTRAINT layer_segment_layer_id_fkey FOREIGN KEY (layer_id) REFERENCES layer (id),
    CONSTRAINT layer_segment_period_check CHECK (valid_from < valid_to),
    CONSTRAINT layer_segment_overlap_excl EXCLUDE USING gist (
        int8range(segment_id, segment_id, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&
    )
);

CREATE INDEX layer_segment_layer_id_idx ON layer_segment (layer_id);

COMMENT ON TABLE layer_segment IS
'A period in which a segment is in a layer. It is inside the lives of both.';
COMMENT ON COLUMN layer_segment.segment_id IS 'The segment.';
COMMENT ON COLUMN layer_segment.layer_id IS 'The layer.';
COMMENT ON COLUMN layer_segment.valid_from IS 'Start, inclusive.';
COMMENT ON COLUMN layer_segment.valid_to IS
'End, exclusive: that of the segment, until it leaves the layer before.';
COMMENT ON COLUMN layer_segment.opened_by IS
'Name of the API key that put the segment into the layer. NULL without a key.';
COMMENT ON COLUMN layer_segment.closed_by IS
'Name of the API key that set valid_to, at once or in advance. NULL without a key.';
COMMENT ON CONSTRAINT layer_segment_overlap_excl ON layer_segment IS
'One layer of a segment at a time.';
COMMENT ON INDEX layer_segment_layer_id_idx IS 'The segments of a layer.';

ALTER TABLE membership ADD COLUMN moved boolean NOT NULL DEFAULT FALSE;

COMMENT ON COLUMN membership.moved IS
'TRUE if an addition to another segment of the layer ended the included period.';

ALTER TABLE rollout ADD COLUMN layer_id bigint;
-- Rollouts are few: the constraints take milliseconds.
-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid
ALTER TABLE rollout ADD CONSTRAINT rollout_layer_id_fkey
FOREIGN KEY (layer_id) REFERENCES layer (id);
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE rollout ADD CONSTRAINT rollout_points_excl EXCLUDE USING gist (
    int8range(layer_id, layer_id, '[]') WITH &&,
    points WITH &&,
    tstzrange(valid_from, valid_to) WITH &&
) WHERE (layer_id IS NOT NULL);

COMMENT ON COLUMN rollout.layer_id IS
'The layer of the segment during the rollout. NULL while the segment is in none.';
COMMENT ON COLUMN rollout.salt IS
'Input of rollout_point beside the user id: the slug of the segment, or the salt of its layer.';
COMMENT ON CONSTRAINT rollout_points_excl ON rollout IS
'A point of a layer belongs to one segment at a time, in plans too.';

CREATE VIEW elsewhere AS
SELECT
    m.user_id,
    mine.segment_id,
    m.segment_id AS by_segment_id,
    m.valid_from AS began_at,
    greatest(m.valid_from, mine.valid_from, other.valid_from) AS valid_from,
    least(m.valid_to, mine.valid_to, other.valid_to) AS valid_to,
    CASE greatest(m.valid_from, mine.valid_from, other.valid_from)
        WHEN m.valid_from THEN m.opened_by
        WHEN mine.valid_from THEN mine.opened_by
        ELSE other.opened_by
    END AS opened_by,
    CASE least(m.valid_to, mine.valid_to, other.valid_to)
        WHEN m.valid_to THEN m.closed_by
        WHEN mine.valid_to THEN mine.closed_by
        ELSE other.closed_by
    END AS closed_by
FROM layer_segment AS mine
INNER JOIN layer_segment AS other
    ON mine.layer_id = other.layer_id AND mine.segment_id <> other.segment_id
INNER JOIN membership AS m ON other.segment_id = m.segment_id AND m.included
-- The three overlap. Written so, it leads the planner to no index on one of the times.
WHERE
    greatest(m.valid_from, mine.valid_from, other.valid_from)
    < least(m.valid_to, mine.valid_to, other.valid_to);

COMMENT ON VIEW elsewhere IS
'What keeps users out of a segment: the times at which they are included by hand in another '
'segment of its layer.';
COMMENT ON COLUMN elsewhere.user_id IS 'The user.';
COMMENT ON COLUMN elsewhere.segment_id IS 'The segment that the user is kept out of.';
COMMENT ON COLUMN elsewhere.by_segment_id IS 'The other segment of the layer.';
COMMENT ON COLUMN elsewhere.began_at IS
'Start of the included period in the other segment: of two such periods, the later one counts.';
COMMENT ON COLUMN elsewhere.valid_from IS
'Start of that period and of both segments in the layer, whichever is last.';
COMMENT ON COLUMN elsewhere.valid_to IS
'End of that period or of either segment in the layer, whichever is first.';
COMMENT ON COLUMN elsewhere.opened_by IS 'Name of the API key behind valid_from.';
COMMENT ON COLUMN elsewhere.closed_by IS 'Name of the API key behind valid_to.';

-- stay_events(bigint, bigint) stays for replicas of the version before, which know no layers.

-- The stays are the periods by hand without what is suspended, and the times of rollouts that own
-- the user's point, from when the user was known and minus the times decided by hand here or
-- elsewhere in the layer, all inside the life of the segment. range_agg and the operators of
-- multiranges compute them exactly.
CREATE FUNCTION stay_events(
    life segment,
    first_seen_at timestamptz,
    by_hand membership[],
    rollouts rollout[],
    elsewhere elsewhere[]
)
RETURNS TABLE (at timestamptz, operation text, cause text, actor text)
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

-- Cause and actor are one array: where neither is used, as in reports, it is not looked for.
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

COMMENT ON FUNCTION stay_events(
    segment, timestamptz, membership[], rollout[], elsewhere[]
) IS
'Events of a user in a segment up to now: the start of each stay is an add, its end a remove, each '
'with its cause and the name of the API key (NULL if the user became known, or without a key). '
'It reads no table: the rollouts are those that own the point of the user.';
