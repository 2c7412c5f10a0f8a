-- sql/auth/create_key.sql
-- Creates a key, unless its name was ever used.
--
-- $1 name text
-- $2 role text
-- $3 hash bytea
--
-- Returns: one row: name text; none if the name was used
-- Locks:   its own new row
-- Index:   api_key_pkey

INSERT INTO api_key (name, role, hash, created_at)
SELECT
    $1::text AS name,
    $2::text AS role,
    $3::bytea AS hash,
    clock_timestamp() AS created_at
ON CONFLICT (name) DO NOTHING
RETURNING name
