-- sql/maintenance/count_audit.sql
-- Counts what the audit log recorded before a time.
--
-- $1 before timestamptz
--
-- Returns: one row: entries bigint
-- Locks:   none
-- Index:   audit_at_idx

SELECT count(*) AS entries
FROM audit AS a
WHERE a.at < $1::timestamptz
