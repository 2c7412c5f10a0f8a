-- The actor of each event: the name of the key with which it was done.
-- depends: 0008.actors

-- As in 0006.stay_events, with one column more, which costs those nothing who do not select it. The
-- end of a life by TTL bears the name of whoever set it. An entry because the user became
-- known has none.
-- Statements that run see either this function or the one before: both have what they select.
-- squawk-ignore ban-drop-function
DROP FUNCTION stay_events;

CREATE FUNCTION stay_events(for_user_id bigint, for_segment_id bigint)
RETURNS TABLE (at timestamptz, operation text, cause text, actor text)
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
