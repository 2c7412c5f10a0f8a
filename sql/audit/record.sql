-- sql/audit/record.sql
-- Records a change in the audit log, in the transaction of the change.
--
-- $1 actor      text, null without an API key
-- $2 request_id text, null for the command line
-- $3 action     text
-- $4 slug       text, null if a user was erased
-- $5 details    json
--
-- Returns: nothing
-- Locks:   its own new row
-- Index:   none

INSERT INTO audit (at, actor, request_id, action, slug, details)
VALUES (clock_timestamp(), $1::text, $2::text, $3::text, $4::text, $5::json)
