-- sql/memberships/change.sql
-- Puts a user into segments and takes the user out of others. Needs: memberships/lock.
--
-- $1 user_id bigint
-- $2 now     timestamptz, read after the user was locked
-- $3 add     bigint[], ids of locked segments
-- $4 remove  bigint[], ids of locked segments, none of them in $3
--
-- Returns: a row for each segment changed: segment_id bigint, included boolean
-- Locks:   the periods it ends; the user's lock keeps others away
-- Index:   membership_pkey
--
-- A period ends after its beginning, even if the clock has stepped back.

WITH ended AS (
    UPDATE membership AS m
    SET valid_to = greatest($2::timestamptz, m.valid_from + interval '1 microsecond')
    WHERE
        m.user_id = $1::bigint
        AND m.segment_id = ANY($4::bigint[])
        AND m.valid_to > $2::timestamptz
    RETURNING m.segment_id
),

begun AS (
    INSERT INTO membership AS m (user_id, segment_id, included, valid_from)
    SELECT
        $1::bigint AS user_id,
        wanted.segment_id,
        TRUE AS included,
        $2::timestamptz AS valid_from
    FROM unnest($3::bigint[]) AS wanted (segment_id)
    WHERE
        NOT EXISTS (
            SELECT FROM membership AS m
            WHERE
                m.user_id = $1::bigint
                AND m.segment_id = wanted.segment_id
                AND m.valid_to > $2::timestamptz
        )
    RETURNING m.segment_id
)

SELECT
    begun.segment_id,
    TRUE AS included
FROM begun
UNION ALL
SELECT
    ended.segment_id,
    FALSE AS included
FROM ended
