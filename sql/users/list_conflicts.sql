-- sql/users/list_conflicts.sql
-- Lists where users are, or will be, by hand elsewhere in the layers of segments to be added.
-- Needs: users/lock.
--
-- $1 now             timestamptz, read after the users were locked
-- $2 user_ids        bigint[], one for each addition
-- $3 segment_ids     bigint[], ids of locked segments
-- $4 since           timestamptz[], the start for each of them; null for now
-- $5 until           timestamptz[], the end for each of them; null for no end
-- $6 leaving_users   bigint[], users whom the same requests remove from segments
-- $7 left_segments   bigint[], ids of these segments
--
-- Returns: a row each: user_id bigint, segment_id bigint, of $3; slug text, of the other segment;
--          ends_at timestamptz, null without an end
-- Locks:   none; the locks of the users exclude other writers
-- Index:   membership_pkey, segment_pkey

SELECT
    a.user_id,
    a.segment_id,
    s.slug,
    nullif(e.valid_to, 'infinity') AS ends_at
FROM
    unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
        AS a (user_id, segment_id, since, until)
INNER JOIN elsewhere AS e
    ON
        a.user_id = e.user_id
        AND a.segment_id = e.segment_id
        AND e.valid_to > coalesce(a.since, $1::timestamptz)
        AND e.valid_from < coalesce(a.until, 'infinity')
INNER JOIN segment AS s ON e.by_segment_id = s.id
WHERE
    NOT EXISTS (
        SELECT FROM unnest($6::bigint[], $7::bigint[]) AS l (user_id, segment_id)
        WHERE l.user_id = a.user_id AND l.segment_id = e.by_segment_id
    )
ORDER BY e.valid_from
