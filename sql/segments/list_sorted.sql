-- sql/segments/list_sorted.sql
-- Lists live segments, the newest or the largest first, from after a given one.
--
-- $1 sort       text, created_at or members
-- $2 q          text, a part of the slug or the description, in any case; null for all
-- $3 after_rank bigint, of the last segment of the page before; null for the first page
-- $4 after_slug text, its slug; '' for the first page
-- $5 limit      bigint
--
-- Returns: a row each: rank bigint, the microseconds since 1970 or the members; slug text,
--          description text, percent numeric, created_at timestamptz, ends_at timestamptz, null
--          without an end, layer text, null in none, members bigint, null if not sorted by them
-- Locks:   none
-- Index:   none: it reads everything, once
--
-- Members by hand are counted, without who is suspended by another segment of the layer. A million
-- periods are read only if they are sorted by.

WITH counted AS (
    SELECT
        m.segment_id,
        count(*) AS members
    FROM membership AS m
    WHERE
        $1::text = 'members'
        AND m.included
        AND m.valid_from <= now()
        AND m.valid_to > now()
        AND NOT (
            m.segment_id IN (
                SELECT l.segment_id
                FROM layer_segment AS l
                WHERE l.valid_to > now()
            )
            AND EXISTS (
                SELECT FROM elsewhere AS e
                WHERE
                    e.user_id = m.user_id
                    AND e.segment_id = m.segment_id
                    AND e.valid_from <= now()
                    AND e.valid_to > now()
                    AND (e.began_at, e.by_segment_id) > (m.valid_from, m.segment_id)
            )
        )
    GROUP BY m.segment_id
),

ranked AS (
    SELECT
        s.id,
        s.slug,
        s.description,
        s.created_at,
        s.deleted_at,
        CASE $1::text WHEN 'members' THEN coalesce(c.members, 0) END AS members,
        CASE $1::text
            WHEN 'members' THEN coalesce(c.members, 0)
            ELSE (extract(EPOCH FROM s.created_at) * 1000000)::bigint
        END AS rank
    FROM segment AS s
    LEFT JOIN counted AS c ON s.id = c.segment_id
    WHERE
        s.deleted_at > now()
        AND (
            strpos(lower(s.slug), lower(coalesce($2::text, ''))) > 0
            OR strpos(lower(s.description), lower(coalesce($2::text, ''))) > 0
        )
)

SELECT
    s.rank,
    s.slug,
    s.description,
    r.percent,
    s.created_at,
    layer.slug AS layer,
    s.members,
    nullif(s.deleted_at, 'infinity') AS ends_at
FROM ranked AS s
LEFT JOIN layer_segment AS l ON s.id = l.segment_id AND l.valid_to > now() AND l.valid_from <= now()
LEFT JOIN layer ON l.layer_id = layer.id
LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
WHERE (-s.rank, s.slug) > (-coalesce($3::bigint, 9223372036854775807), $4::text)
ORDER BY -s.rank, s.slug
LIMIT $5::bigint
