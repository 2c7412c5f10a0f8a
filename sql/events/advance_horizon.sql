-- sql/events/advance_horizon.sql
-- Stores the time up to which the feed may be served, so that writes use a later one.
--
-- Returns: one row: bound timestamptz, the stored time: now, or later if the clock was set back;
--          pruned_before timestamptz, null if everything is kept
-- Locks:   its row
-- Index:   feed_pkey
--
-- It is committed before events/get_horizon looks for writes: one that is not found there begins
-- later, so it sees this time.

INSERT INTO feed AS f (singleton, horizon)
VALUES (TRUE, clock_timestamp())
ON CONFLICT (singleton) DO UPDATE SET horizon = greatest(f.horizon, excluded.horizon)
RETURNING f.horizon AS bound, nullif(f.pruned_before, '-infinity') AS pruned_before
