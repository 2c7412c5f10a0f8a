-- sql/layers/delete.sql
-- Ends the life of a layer whose segments have left it. Needs: layers/lock, layers/leave.
--
-- $1 id    bigint
-- $2 now   timestamptz, read after the layer was locked; null to read it here
-- $3 actor text, null without an API key
--
-- Returns: nothing
-- Locks:   the row
-- Index:   none: the layers are few

UPDATE layer AS l
SET
    deleted_at = greatest(
        coalesce($2::timestamptz, clock_timestamp()), l.created_at + interval '1 microsecond'
    ),
    deleted_by = $3::text
WHERE l.id = $1::bigint
