-- sql/maintenance/replay.sql
-- Replays the events of some users up to now.
--
-- $1 user_ids bigint[]
--
-- Returns: a row for each user, in the order asked: user_id bigint, segments text[] sorted
--          bytewise, alternates boolean: whether each segment's events are add, remove, add, ...
-- Locks:   none
-- Index:   membership_pkey, membership_segment_id_user_id_idx, users_pkey

WITH related AS (
    SELECT
        m.user_id,
        m.segment_id
    FROM membership AS m
    WHERE m.user_id = ANY($1::bigint[])
    UNION
    SELECT
        asked.user_id,
        r.segment_id
    FROM unnest($1::bigint[]) AS asked (user_id)
    CROSS JOIN rollout AS r
),

event AS (
    SELECT
        related.user_id,
        s.slug,
        e.operation,
        e.operation = coalesce(lag(e.operation) OVER earlier_first, 'remove') AS repeats,
        lead(e.at) OVER earlier_first IS NULL AS is_last
    FROM related
    INNER JOIN segment AS s ON related.segment_id = s.id
    CROSS JOIN LATERAL stay_events(related.user_id, related.segment_id) AS e
    WINDOW earlier_first AS (PARTITION BY related.user_id, related.segment_id ORDER BY e.at)
)

SELECT
    asked.user_id,
    coalesce(
        array_agg(event.slug ORDER BY event.slug)
        FILTER (WHERE event.is_last AND event.operation = 'add'),
        '{}'
    ) AS segments,
    coalesce(bool_and(NOT event.repeats), TRUE) AS alternates
FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (user_id, ordinal)
LEFT JOIN event ON asked.user_id = event.user_id
GROUP BY asked.user_id, asked.ordinal
ORDER BY asked.ordinal
