-- Segments: one lives from created_at to deleted_at, which is infinity while it is live.
-- depends:

CREATE TABLE segment (
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- Compared and sorted bytewise, as the interface promises.
    slug text COLLATE "C" NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT 'infinity',
    CONSTRAINT segment_pkey PRIMARY KEY (id),
    -- No two lives of a slug end together; in particular, one at most is live. The live ones lie
    -- together in the order of their slugs.
    CONSTRAINT segment_deleted_at_slug_key UNIQUE (deleted_at, slug),
    CONSTRAINT segment_slug_check CHECK (slug ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'),
    CONSTRAINT segment_life_check CHECK (created_at < deleted_at)
);
