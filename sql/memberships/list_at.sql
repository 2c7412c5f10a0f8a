-- sql/memberships/list_at.sql
-- Lists the slugs of the segments that each of some users is in at one time.
--
-- $1 user_ids bigint[]
-- $2 at       timestamptz, null for now
--
-- Returns: a row a user, in the order asked: user_id bigint, segments text[] sorted bytewise
-- Locks:   none
-- Index:   membership_pkey, segment_pkey

SELECT
    asked.user_id,
    ARRAY(
        SELECT s.slug
        FROM membership AS m
        INNER JOIN segment AS s ON m.segment_id = s.id
        WHERE
            m.user_id = asked.user_id
            AND m.included
            AND m.valid_to > coalesce($2::timestamptz, now())
            AND m.valid_from <= coalesce($2::timestamptz, now())
            AND s.deleted_at > coalesce($2::timestamptz, now())
            AND s.created_at <= coalesce($2::timestamptz, now())
        ORDER BY s.slug
    ) AS segments
FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (user_id, ordinal)
ORDER BY asked.ordinal
