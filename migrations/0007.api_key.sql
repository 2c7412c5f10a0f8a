-- Keys: who may use the service, by name and role. A key is shown once; here is its hash.
-- depends: 0006.stay_events

CREATE TABLE api_key (
    name text COLLATE "C" NOT NULL,
    role text NOT NULL,
    -- SHA-256 of a secret of 256 random bits, which needs no salt and no slow hash.
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT 'infinity',
    -- A name is never given again: it stands in the history for whoever had it.
    CONSTRAINT api_key_pkey PRIMARY KEY (name),
    CONSTRAINT api_key_name_check CHECK (name ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'),
    CONSTRAINT api_key_role_check CHECK (role IN ('reader', 'editor')),
    CONSTRAINT api_key_hash_check CHECK (length(hash) = 32)
);
