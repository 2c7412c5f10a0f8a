-- sql/maintenance/delete_audit.sql
-- Deletes a batch of what the audit log recorded before a time.
--
-- $1 before timestamptz
-- $2 limit  bigint
--
-- Returns: nothing
-- Locks:   the deleted rows
-- Index:   audit_at_idx, audit_pkey

DELETE FROM audit AS a
WHERE
    a.id = ANY(
        ARRAY(
            SELECT old.id
            FROM audit AS old
            WHERE old.at < $1::timestamptz
            ORDER BY old.at
            LIMIT $2::bigint
        )
    )
