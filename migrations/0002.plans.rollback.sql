-- What was planned and has not started is lost: the schema before cannot tell it apart.
-- A percentage that ends where a plan starts goes on.
DELETE FROM membership AS m
WHERE m.planned AND m.valid_from > now();

DELETE FROM rollout AS r
WHERE r.planned AND r.valid_from > now();

UPDATE rollout AS r
SET valid_to = 'infinity'
WHERE r.valid_to > now();

ALTER TABLE rollout DROP COLUMN planned;
ALTER TABLE membership DROP COLUMN planned;
