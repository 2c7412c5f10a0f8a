-- sql/auth/revoke_key.sql
-- Revokes a key, for good.
--
-- $1 name text
--
-- Returns: one row: name text; none if there is no such key, or it was revoked
-- Locks:   the key
-- Index:   none: the keys are few

UPDATE api_key AS k
SET revoked_at = clock_timestamp()
WHERE k.name = $1::text AND k.revoked_at = 'infinity'
RETURNING k.name
