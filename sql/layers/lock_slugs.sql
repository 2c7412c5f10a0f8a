-- sql/layers/lock_slugs.sql
-- Serializes the creation, change and deletion of segments of some slugs, until the commit.
-- Needs: layers/lock_slug.
--
-- $1 slugs text[]
--
-- Returns: a row each: slug_lock void
-- Locks:   the slugs, in the order of their buckets (see segments/lock_slug)
-- Index:   none

SELECT pg_advisory_xact_lock(1936026483, slug.bucket) AS slug_lock
FROM (
    SELECT DISTINCT (hashtextextended(asked.slug, 0) & 255)::integer AS bucket
    FROM unnest($1::text[]) AS asked (slug)
    ORDER BY bucket
) AS slug
