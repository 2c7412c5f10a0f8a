DROP FUNCTION rollout_point(text, bigint);
