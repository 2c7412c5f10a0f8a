-- sql/users/list_conflicts.sql
-- Lists where a user is, or will be, by hand elsewhere in the layers of segments to be added.
-- Needs: users/lock.
--
-- $1 user_id bigint
-- $2 now     timestamptz, read after the user was locked
-- $3 add     bigint[], ids of locked segments
-- $4 since   timestamptz[], the start for each of them; null for now
-- $5 until   timestamptz[], the end for each of them; null for no end
-- $6 remove  bigint[], ids of segments that the same request removes the user from
--
-- Returns: a row each: segment_id bigint, of $3; slug text, of the other segment;
--          ends_at timestamptz, null without an end
-- Locks:   none; the lock of the user excludes other writers
-- Index:   membership_pkey, segment_pkey

SELECT
    a.segment_id,
    s.slug,
    nullif(e.valid_to, 'infinity') AS ends_at
FROM
    unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[]) AS a (segment_id, since, until)
INNER JOIN elsewhere AS e
    ON
        a.segment_id = e.segment_id
        AND e.user_id = $1::bigint
        AND e.valid_to > coalesce(a.since, $2::timestamptz)
        AND e.valid_from < coalesce(a.until, 'infinity')
INNER JOIN segment AS s ON e.by_segment_id = s.id
WHERE e.by_segment_id <> ALL($6::bigint[])
ORDER BY e.valid_from
