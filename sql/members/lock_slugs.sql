-- sql/members/lock_slugs.sql
-- Locks the slugs of a segment and of the others in its layer, until members/unlock_slugs.
--
-- $1 slug text
--
-- Returns: a row for each lock: bucket integer, slug_lock void
-- Locks:   the slugs, in the order of their buckets (see segments/lock_slug), for the session
-- Index:   segment_slug_deleted_at_key, segment_pkey
--
-- These locks wait for the changes under way, and hold off new ones, until the segments are locked:
-- PostgreSQL grants these in their order, but rows to a new sharer before a waiting exclusive
-- locker. They do not last: other slugs have the same buckets.

SELECT
    slug.bucket,
    pg_advisory_lock(1936026483, slug.bucket) AS slug_lock
FROM (
    SELECT DISTINCT (hashtextextended(wanted.slug, 0) & 255)::integer AS bucket
    FROM (
        SELECT $1::text AS slug
        UNION ALL
        SELECT other.slug
        FROM segment AS s
        INNER JOIN layer_segment AS mine
            ON s.id = mine.segment_id AND mine.valid_to > clock_timestamp()
        INNER JOIN layer_segment AS theirs
            ON mine.layer_id = theirs.layer_id AND theirs.valid_to > clock_timestamp()
        INNER JOIN segment AS other ON theirs.segment_id = other.id
        WHERE s.slug = $1::text AND s.deleted_at > clock_timestamp()
    ) AS wanted
    ORDER BY bucket
) AS slug
