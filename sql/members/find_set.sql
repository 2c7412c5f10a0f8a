-- sql/members/find_set.sql
-- Stages the users of a set: in any of some segments, in all of others, and in none of others.
-- Needs: members/stage, members/lock_registration.
--
-- $1 segment_ids bigint[], one for each segment that the set names
-- $2 times       timestamptz[], as of when, now or in the past
-- $3 parts       text[], any, all or none
--
-- Returns: nothing
-- Locks:   the temporary table, which only this connection sees
-- Index:   membership_segment_id_user_id_idx, segment_pkey
--
-- A named segment finds a user once: by hand, or by percentage. So counting the rows of a user is
-- counting the segments. Who is by hand in a layer is looked for only if the segment was ever in
-- one.

WITH named AS MATERIALIZED (
    SELECT
        s.id,
        asked.at,
        asked.part,
        exists(
            SELECT FROM layer_segment AS l
            WHERE l.segment_id = s.id
        ) AS in_layer
    FROM
        unnest(
            $1::bigint[], $2::timestamptz[], $3::text[]
        ) AS asked (segment_id, at, part)
    INNER JOIN segment AS s
        ON asked.segment_id = s.id AND asked.at >= s.created_at AND asked.at < s.deleted_at
),

member AS (
    SELECT
        m.user_id,
        n.part
    FROM named AS n
    INNER JOIN membership AS m
        ON n.id = m.segment_id AND m.included AND n.at >= m.valid_from AND n.at < m.valid_to
    WHERE
        NOT (
            n.in_layer
            AND EXISTS (
                SELECT FROM elsewhere AS e
                WHERE
                    e.segment_id = n.id
                    AND e.user_id = m.user_id
                    AND e.valid_from <= n.at
                    AND e.valid_to > n.at
                    AND (e.began_at, e.by_segment_id) > (m.valid_from, m.segment_id)
            )
        )
    UNION ALL
    SELECT
        u.id AS user_id,
        n.part
    FROM named AS n
    INNER JOIN rollout AS r
        ON
            n.id = r.segment_id
            AND n.at >= r.valid_from
            AND n.at < r.valid_to
            AND NOT isempty(r.points)
    INNER JOIN users AS u ON n.at >= u.first_seen_at
    WHERE
        rollout_point(r.salt, u.id) <@ r.points
        AND NOT EXISTS (
            SELECT FROM membership AS m
            WHERE
                m.segment_id = n.id
                AND m.user_id = u.id
                AND m.valid_from <= n.at
                AND m.valid_to > n.at
        )
        AND NOT (
            n.in_layer
            AND EXISTS (
                SELECT FROM elsewhere AS e
                WHERE
                    e.segment_id = n.id
                    AND e.user_id = u.id
                    AND e.valid_from <= n.at
                    AND e.valid_to > n.at
            )
        )
)

INSERT INTO staged (user_id)
SELECT member.user_id
FROM member
GROUP BY member.user_id
HAVING
    count(*) FILTER (WHERE member.part = 'none') = 0
    AND count(*) FILTER (WHERE member.part = 'all')
    = cardinality(array_positions($3::text[], 'all'))
    AND (
        count(*) FILTER (WHERE member.part = 'any') > 0
        OR array_position($3::text[], 'any') IS NULL
    )
