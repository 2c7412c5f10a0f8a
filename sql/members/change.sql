-- sql/members/change.sql
-- Adds the users of a file to a segment, or removes them from it.
-- Needs: members/lock_segment, members/analyze_staged, members/lock_users.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the users were locked
-- $3 included   boolean, true to add and false to remove
-- $4 until      timestamptz, the end of what is added, after $2; null for no end
-- $5 actor      text, null without an API key
--
-- Returns: one row: changed bigint, the number of users for whom something changed
-- Locks:   the periods that it closes or extends; the locks of the users exclude other writers
-- Index:   membership_segment_id_user_id_idx
--
-- The table in users/change says what a request does to the current period. The ids are in the
-- temporary table `staged`. The rows are inserted in the order of the user ids: in another order, a
-- million rows take more than twice the time. The header of users/change says why this is a
-- separate statement.

WITH requested AS (
    SELECT
        $3::boolean AS included,
        coalesce($4::timestamptz, 'infinity') AS valid_to,
        $3::boolean OR EXISTS (
            SELECT FROM rollout AS r
            WHERE r.segment_id = $1::bigint AND r.valid_to = 'infinity'
        ) AS opens
),

current_period AS (
    SELECT DISTINCT ON (staged.user_id)
        staged.user_id,
        m.included AS was_included,
        m.valid_to AS old_valid_to,
        greatest($2::timestamptz, m.valid_from + interval '1 microsecond') AS change_at
    FROM staged
    LEFT JOIN membership AS m
        ON
            m.segment_id = $1::bigint
            AND staged.user_id = m.user_id
            AND m.valid_to > $2::timestamptz
    ORDER BY staged.user_id ASC, m.valid_to DESC
),

-- MATERIALIZED: read three times below, and always as of before the writes.
changed AS MATERIALIZED (
    SELECT
        c.user_id,
        c.old_valid_to,
        c.change_at,
        requested.opens OR c.was_included IS NOT NULL AS opens,
        greatest(requested.valid_to, c.change_at + interval '1 microsecond') AS valid_to,
        requested.included AND coalesce(c.was_included, FALSE) AS moves_end
    FROM current_period AS c
    CROSS JOIN requested
    WHERE
        CASE
            WHEN c.was_included IS NULL THEN requested.opens
            WHEN requested.included AND c.was_included THEN requested.valid_to <> c.old_valid_to
            ELSE requested.included <> c.was_included
        END
),

closed AS (
    UPDATE membership AS m
    SET
        valid_to = CASE WHEN changed.moves_end THEN changed.valid_to ELSE changed.change_at END,
        removed = NOT $3::boolean,
        closed_by = CASE
            WHEN NOT changed.moves_end OR changed.valid_to < 'infinity' THEN $5::text
        END
    FROM changed
    WHERE
        m.user_id = changed.user_id
        AND m.segment_id = $1::bigint
        AND m.valid_to = changed.old_valid_to
    RETURNING m.user_id
),

opened AS (
    INSERT INTO membership (
        user_id, segment_id, included, valid_from, valid_to, opened_by, closed_by
    )
    SELECT
        changed.user_id,
        $1::bigint AS segment_id,
        $3::boolean AS included,
        changed.change_at AS valid_from,
        changed.valid_to,
        $5::text AS opened_by,
        CASE WHEN changed.valid_to < 'infinity' THEN $5::text END AS closed_by
    -- count(*) makes the insert wait for the updates, as in users/change.
    FROM (SELECT count(*) AS periods FROM closed) AS after_close
    CROSS JOIN changed
    WHERE changed.opens AND NOT changed.moves_end
    ORDER BY changed.user_id
)

SELECT count(*) AS changed
FROM changed
