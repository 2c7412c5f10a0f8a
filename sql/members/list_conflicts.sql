-- sql/members/list_conflicts.sql
-- Lists the users of a file who are, or will be, by hand elsewhere in the layer of a segment.
-- Needs: members/lock_segment.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the segment was locked
-- $3 since      timestamptz, the start of what is added; null for now
-- $4 until      timestamptz, the end of what is added; null for no end
-- $5 limit      bigint
--
-- Returns: a row each, in the order of the file: place bigint, of the user among the user ids of
--          the file, from 1; user_id bigint, elsewhere text, the slug of the other segment;
--          ends_at timestamptz, null without an end
-- Locks:   none; the locks of the segments exclude other writers
-- Index:   membership_segment_id_user_id_idx, segment_pkey
--
-- The ids were copied in the order of the file, and nothing was deleted: their places follow from
-- where the rows are.

WITH conflict AS MATERIALIZED (
    SELECT DISTINCT ON (e.user_id)
        e.user_id,
        e.by_segment_id,
        e.valid_to
    FROM (SELECT DISTINCT staged.user_id FROM staged) AS staged_user
    INNER JOIN elsewhere AS e ON staged_user.user_id = e.user_id
    WHERE
        e.segment_id = $1::bigint
        AND e.valid_to > coalesce($3::timestamptz, $2::timestamptz)
        AND e.valid_from < coalesce($4::timestamptz, 'infinity')
    ORDER BY e.user_id, e.valid_from
),

placed AS (
    SELECT
        staged.user_id,
        row_number() OVER (ORDER BY staged.ctid) AS place
    FROM staged
)

SELECT
    p.place,
    c.user_id,
    s.slug AS elsewhere,
    nullif(c.valid_to, 'infinity') AS ends_at
FROM placed AS p
INNER JOIN conflict AS c ON p.user_id = c.user_id
INNER JOIN segment AS s ON c.by_segment_id = s.id
ORDER BY p.place
LIMIT $5::bigint
