-- sql/maintenance/find_rollouts_outside_layers.sql
-- Finds rollouts that are not inside the time of their segment in their layer, or out of one.
--
-- Returns: a row each: segment_id bigint, at timestamptz
-- Locks:   none
-- Index:   none: it reads everything, once

SELECT
    r.segment_id,
    r.valid_from AS at
FROM rollout AS r
WHERE
    coalesce(
        (
            SELECT
                range_agg(tstzrange(l.valid_from, l.valid_to))
                @> tstzrange(r.valid_from, r.valid_to)
            FROM layer_segment AS l
            WHERE l.segment_id = r.segment_id AND l.layer_id = r.layer_id
        ),
        FALSE
    ) <> (r.layer_id IS NOT NULL)
    OR EXISTS (
        SELECT FROM layer_segment AS l
        WHERE
            l.segment_id = r.segment_id
            AND r.layer_id IS NULL
            AND l.valid_from < r.valid_to
            AND r.valid_from < l.valid_to
    )
