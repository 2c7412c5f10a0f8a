-- sql/users/list_upcoming.sql
-- Lists the memberships of a user that are planned and have not started.
--
-- $1 user_id bigint
--
-- Returns: a row each, in the order of their starts: slug text, starts_at timestamptz, actor text,
--          expires_at timestamptz, null without an end
-- Locks:   none
-- Index:   membership_pkey, segment_pkey
--
-- A plan of a segment that was deleted never begins.

-- MATERIALIZED: found by the user. The planner would look for the plans of everyone.
WITH plan AS MATERIALIZED (
    SELECT
        m.segment_id,
        m.valid_from,
        m.valid_to,
        m.opened_by
    FROM membership AS m
    WHERE m.user_id = $1::bigint AND m.valid_to > now() AND m.planned
)

SELECT
    s.slug,
    plan.valid_from AS starts_at,
    plan.opened_by AS actor,
    nullif(plan.valid_to, 'infinity') AS expires_at
FROM plan
INNER JOIN segment AS s ON plan.segment_id = s.id
WHERE plan.valid_from > now() AND s.deleted_at > plan.valid_from
ORDER BY plan.valid_from, s.slug
