-- The audit log: who changed segments, layers, many members at once, and keys, from what to what.
-- depends: 0003.layers

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    actor text,
    request_id text,
    action text NOT NULL,
    slug text COLLATE "C",
    details json NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (id)
);

CREATE INDEX audit_slug_id_idx ON audit (slug, id);
CREATE INDEX audit_actor_id_idx ON audit (actor, id);
CREATE INDEX audit_at_idx ON audit (at);

COMMENT ON TABLE audit IS
'One row for each change of a segment, a layer, many members at once, or a key, written in its '
'transaction, and for each user who was erased. Changes of single users are periods.';
COMMENT ON COLUMN audit.id IS 'Key, in the order of the writing.';
COMMENT ON COLUMN audit.at IS 'When it was written.';
COMMENT ON COLUMN audit.actor IS
'Name of the API key that made the change. NULL without a key, and for the command line.';
COMMENT ON COLUMN audit.request_id IS 'X-Request-ID of the request. NULL for the command line.';
COMMENT ON COLUMN audit.action IS 'What was done, such as segment.change.';
COMMENT ON COLUMN audit.slug IS
'The segment, the layer, or the name of the key. NULL when a user was erased.';
COMMENT ON COLUMN audit.details IS
'What was changed, before and after, or the counts of many members. No user ids.';
COMMENT ON INDEX audit_slug_id_idx IS 'Pages of one segment, layer or key, newest first.';
COMMENT ON INDEX audit_actor_id_idx IS 'Pages of one API key, newest first.';
COMMENT ON INDEX audit_at_idx IS 'Rows from before a month, for prune.';
