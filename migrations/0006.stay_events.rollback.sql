DROP FUNCTION stay_events(bigint, bigint);
