-- sql/members/change.sql
-- Puts the users of a file into a segment or takes them out, as memberships/change does for one.
-- Needs: members/lock_segment, members/analyze_staged, members/lock_users.
--
-- $1 segment_id bigint
-- $2 now        timestamptz, read after the users were locked
-- $3 included   boolean, true to add and false to remove
-- $4 until      timestamptz, the end of what is added, after $2; null for none
-- $5 actor      text, null for nobody in particular
--
-- Returns: one row: changed bigint, the number of users for whom something changed
-- Locks:   the periods it ends or moves the end of; the users' locks keep others away
-- Index:   membership_segment_id_user_id_idx
--
-- The table in memberships/change says what each wish does to what it meets. Rows are inserted in
-- the order of the users: in another order the same million takes more than twice the time.

WITH wish AS (
    SELECT
        $3::boolean AS included,
        coalesce($4::timestamptz, 'infinity') AS valid_to,
        $3::boolean OR EXISTS (
            SELECT FROM rollout AS r
            WHERE r.segment_id = $1::bigint AND r.valid_to = 'infinity'
        ) AS begins
),

met AS (
    SELECT DISTINCT ON (staged.user_id)
        staged.user_id,
        m.included AS was_included,
        m.valid_to AS old_valid_to,
        greatest($2::timestamptz, m.valid_from + interval '1 microsecond') AS bound
    FROM staged
    LEFT JOIN membership AS m
        ON
            m.segment_id = $1::bigint
            AND staged.user_id = m.user_id
            AND m.valid_to > $2::timestamptz
    ORDER BY staged.user_id ASC, m.valid_to DESC
),

changed AS MATERIALIZED (
    SELECT
        met.user_id,
        met.old_valid_to,
        met.bound,
        wish.begins,
        greatest(wish.valid_to, met.bound + interval '1 microsecond') AS valid_to,
        wish.included AND coalesce(met.was_included, FALSE) AS moves
    FROM met
    CROSS JOIN wish
    WHERE
        CASE
            WHEN met.was_included IS NULL THEN wish.begins
            WHEN wish.included AND met.was_included THEN wish.valid_to <> met.old_valid_to
            ELSE wish.included <> met.was_included
        END
),

ended AS (
    UPDATE membership AS m
    SET
        valid_to = CASE WHEN changed.moves THEN changed.valid_to ELSE changed.bound END,
        removed = NOT $3::boolean,
        closed_by = CASE
            WHEN NOT changed.moves OR changed.valid_to < 'infinity' THEN $5::text
        END
    FROM changed
    WHERE
        m.user_id = changed.user_id
        AND m.segment_id = $1::bigint
        AND m.valid_to = changed.old_valid_to
    RETURNING m.user_id
),

begun AS (
    INSERT INTO membership (
        user_id, segment_id, included, valid_from, valid_to, opened_by, closed_by
    )
    SELECT
        changed.user_id,
        $1::bigint AS segment_id,
        $3::boolean AS included,
        changed.bound AS valid_from,
        changed.valid_to,
        $5::text AS opened_by,
        CASE WHEN changed.valid_to < 'infinity' THEN $5::text END AS closed_by
    FROM (SELECT count(*) AS ends FROM ended) AS done
    CROSS JOIN changed
    WHERE changed.begins AND NOT changed.moves
    ORDER BY changed.user_id
)

SELECT count(*) AS changed
FROM changed
