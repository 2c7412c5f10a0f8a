-- sql/layers/list_shares.sql
-- Lists the segments of a layer at one time, with the points that each has then.
--
-- $1 layer_id bigint
-- $2 at       timestamptz, null for now
--
-- Returns: a row each, in the order of the slugs: slug text, percent numeric, null in a manual
--          segment, points int8multirange, empty in a manual segment
-- Locks:   none
-- Index:   none: the layers are few

SELECT
    s.slug,
    r.percent,
    coalesce(r.points, '{}') AS points
FROM layer_segment AS l
INNER JOIN segment AS s ON l.segment_id = s.id
LEFT JOIN rollout AS r
    ON
        l.segment_id = r.segment_id
        AND r.valid_to > coalesce($2::timestamptz, now())
        AND r.valid_from <= coalesce($2::timestamptz, now())
WHERE
    l.layer_id = $1::bigint
    AND l.valid_to > coalesce($2::timestamptz, now())
    AND l.valid_from <= coalesce($2::timestamptz, now())
ORDER BY s.slug
