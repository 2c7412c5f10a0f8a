-- sql/users/list_events.sql
-- Lists a page of the events of a user, in the order of time.
--
-- $1 user_id    bigint
-- $2 from       timestamptz, inclusive
-- $3 to         timestamptz, exclusive
-- $4 after_at   timestamptz, of the last event of the page before; -infinity for the first page
-- $5 after_slug text, of the same event; '' for the first page
-- $6 limit      bigint
--
-- Returns: a row each: at timestamptz, slug text, operation text, cause text,
--          actor text
-- Locks:   none
-- Index:   membership_pkey, membership_segment_id_user_id_idx, users_pkey
--
-- (at, slug) is unique: two stays in a segment do not touch, and neither do two lives of a slug.

WITH related_segment AS (
    SELECT m.segment_id
    FROM membership AS m
    WHERE m.user_id = $1::bigint
    UNION
    SELECT r.segment_id
    FROM rollout AS r
)

SELECT
    e.at,
    s.slug,
    e.operation,
    e.cause,
    e.actor
FROM related_segment AS related
INNER JOIN segment AS s ON related.segment_id = s.id
CROSS JOIN LATERAL stay_events($1::bigint, related.segment_id) AS e
WHERE
    e.at >= $2::timestamptz
    AND e.at < $3::timestamptz
    AND (e.at, s.slug) > ($4::timestamptz, $5::text)
ORDER BY e.at, s.slug
LIMIT $6::bigint
