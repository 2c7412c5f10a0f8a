-- sql/maintenance/set_pruned.sql
-- Stores the time before which events may be gone, so that nobody follows the feed from there.
--
-- $1 before timestamptz
--
-- Returns: nothing
-- Locks:   its row
-- Index:   feed_pkey

INSERT INTO feed AS f (singleton, pruned_before)
VALUES (TRUE, $1::timestamptz)
ON CONFLICT (singleton) DO UPDATE
    SET pruned_before = greatest(f.pruned_before, excluded.pruned_before)
