DROP FUNCTION stay_events(bigint, bigint);
DROP TABLE api_key, membership, users, rollout, segment;
DROP FUNCTION rollout_points(numeric);
DROP FUNCTION rollout_point(text, bigint);
