-- sql/users/list_at.sql
-- Lists the slugs of the segments that each of some users is in at one time: the rule.
--
-- $1 user_ids bigint[]
-- $2 at       timestamptz, null for now
--
-- Returns: a row for each user, in the order asked: user_id bigint, segments text[] sorted
--          bytewise, known boolean: whether the user is registered
-- Locks:   none
-- Index:   membership_pkey, segment_pkey, users_pkey
--
-- A read registers the user, so a read of now treats every user as known, and a read of another
-- time treats an unregistered user as known from now on.
--
-- A rollout admits a user whose point is among its points. Where these are one range from 0, the
-- comparison with the threshold is cheaper: in microseconds a user, with 3 | 20 | 200 automatic
-- segments, `<@ points` took 49.7 | 81.4 | 273.5, the threshold 48.6 | 78.6 | 243.3, and both in
-- one CASE, as here, 49.2 | 79.6 | 241.4 (PostgreSQL 18, batches of 64, interleaved).
--
-- In a layer, of two included periods the one that began later counts, and a rollout admits nobody
-- who has one of them elsewhere in the layer. The periods in layers are looked for once, for all
-- users; looking for each period took 1.1 to 1.4 of this with 3 layers of 4 segments, 3.0 to 5.6
-- with 100 of 10, and 26 for users of 300 periods. Computing the point of a layer once, for all of
-- its segments, took 1.1.
--
-- Rejected, in microseconds a user (PostgreSQL 18, batches of 64, client included), for users of
-- 3 | 300 periods without automatic segments, of 3 with 20 and with 200 of them, where this took
-- 10.8 | 417, 26.9 and 181: one scan of the periods for both halves, 13.5 | 455, 27.4, 185; one
-- join and GROUP BY, 12.2 | 604, 28.9, 182; joins without the LIMITs, 10.7 | 295, 26.7, 170, but
-- 45 more for a query of one user, and slower with each segment; the time in a CTE, 11.3 | 398,
-- 27.2, 172. Comparing digests bytewise (10.9 | 420, 24.1, 132) needs a second definition of the
-- point.

-- MATERIALIZED: once a query, not once a user.
WITH live_rollout AS MATERIALIZED (
    SELECT
        r.segment_id,
        r.layer_id,
        r.salt,
        r.points,
        r.threshold,
        s.slug
    FROM rollout AS r
    INNER JOIN LATERAL (
        SELECT live.slug
        FROM segment AS live
        WHERE
            live.id = r.segment_id
            AND live.deleted_at > coalesce($2::timestamptz, now())
            AND live.created_at <= coalesce($2::timestamptz, now())
        -- The LIMIT keeps the planner from joining the whole table: it looks each segment up.
        LIMIT 1 -- noqa: AM09
    ) AS s ON TRUE
    WHERE
        r.valid_to > coalesce($2::timestamptz, now())
        AND r.valid_from <= coalesce($2::timestamptz, now())
),

in_layer AS MATERIALIZED (
    SELECT
        l.segment_id,
        l.layer_id
    FROM layer_segment AS l
    WHERE
        l.valid_to > coalesce($2::timestamptz, now())
        AND l.valid_from <= coalesce($2::timestamptz, now())
),

-- What each user has by hand in layers, and what of it counts no longer.
held AS MATERIALIZED (
    SELECT
        mine.user_id,
        array_agg(mine.layer_id) AS layer_ids,
        array_agg(mine.segment_id) FILTER (WHERE mine.place > 1) AS suspended_ids
    FROM (
        SELECT
            m.user_id,
            m.segment_id,
            l.layer_id,
            row_number() OVER (
                PARTITION BY m.user_id, l.layer_id ORDER BY m.valid_from DESC, m.segment_id DESC
            ) AS place
        FROM membership AS m
        INNER JOIN in_layer AS l ON m.segment_id = l.segment_id
        WHERE
            m.user_id = ANY($1::bigint[])
            AND m.included
            AND m.valid_to > coalesce($2::timestamptz, now())
            AND m.valid_from <= coalesce($2::timestamptz, now())
    ) AS mine
    GROUP BY mine.user_id
)

SELECT
    asked.user_id,
    ARRAY(
        SELECT s.slug
        FROM membership AS m
        INNER JOIN LATERAL (
            SELECT live.slug
            FROM segment AS live
            WHERE
                live.id = m.segment_id
                AND live.deleted_at > coalesce($2::timestamptz, now())
                AND live.created_at <= coalesce($2::timestamptz, now())
            LIMIT 1 -- noqa: AM09
        ) AS s ON TRUE
        WHERE
            m.user_id = asked.user_id
            AND m.included
            AND m.valid_to > coalesce($2::timestamptz, now())
            AND m.valid_from <= coalesce($2::timestamptz, now())
            AND (m.segment_id = ANY(held.suspended_ids)) IS NOT TRUE
        UNION ALL
        SELECT r.slug
        FROM live_rollout AS r
        WHERE
            CASE
                WHEN r.threshold IS NULL THEN rollout_point(r.salt, asked.user_id) <@ r.points
                ELSE rollout_point(r.salt, asked.user_id) < r.threshold
            END
            AND coalesce(
                coalesce(u.first_seen_at, now()) <= $2::timestamptz, $2::timestamptz IS NULL
            )
            AND r.segment_id <> ALL(
                ARRAY(
                    SELECT m.segment_id
                    FROM membership AS m
                    WHERE
                        m.user_id = asked.user_id
                        AND m.valid_to > coalesce($2::timestamptz, now())
                        AND m.valid_from <= coalesce($2::timestamptz, now())
                )
            )
            AND (r.layer_id = ANY(held.layer_ids)) IS NOT TRUE
        ORDER BY slug -- noqa: RF02
    ) AS segments,
    u.id IS NOT NULL AS known
FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (user_id, ordinal)
LEFT JOIN users AS u ON asked.user_id = u.id
LEFT JOIN held ON asked.user_id = held.user_id
ORDER BY asked.ordinal
