-- Plans: periods and rollouts that were written before their start.
-- depends: 0001.initial

ALTER TABLE membership ADD COLUMN planned boolean NOT NULL DEFAULT FALSE;
ALTER TABLE rollout ADD COLUMN planned boolean NOT NULL DEFAULT FALSE;

COMMENT ON COLUMN membership.planned IS
'TRUE if it was written before its start. Until then, a later write may replace it.';
COMMENT ON COLUMN rollout.planned IS
'TRUE if it was written before its start. Until then, a later plan may replace it.';
