-- sql/auth/list_keys.sql
-- Lists all keys, revoked ones included, in the order of their names.
--
-- Returns: a row each: name text, role text, hash bytea, created_at timestamptz,
--          revoked_at timestamptz or null
-- Locks:   none
-- Index:   none: the keys are few

SELECT
    k.name,
    k.role,
    k.hash,
    k.created_at,
    nullif(k.revoked_at, 'infinity') AS revoked_at
FROM api_key AS k
ORDER BY k.name
