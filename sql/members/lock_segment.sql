-- sql/members/lock_segment.sql
-- Locks a live segment for a change of many of its members.
--
-- $1 slug text
--
-- Returns: one row: id bigint, ends_at timestamptz, null without an end, layer_id bigint, null
--          outside layers; or none
-- Locks:   the slug, shared (see segments/lock_slug), then the segment FOR KEY SHARE
-- Index:   segment_slug_deleted_at_key

-- MATERIALIZED and count(*): the slug is locked before the segment.
WITH slug_lock AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(1936026483, slug.bucket)
    FROM (SELECT (hashtextextended($1::text, 0) & 255)::integer AS bucket) AS slug
)

SELECT
    s.id,
    nullif(s.deleted_at, 'infinity') AS ends_at,
    (
        SELECT l.layer_id
        FROM layer_segment AS l
        WHERE l.segment_id = s.id AND l.valid_to > clock_timestamp()
    ) AS layer_id
FROM (SELECT count(*) AS slug_locks FROM slug_lock) AS after_slug_lock
CROSS JOIN segment AS s
WHERE s.slug = $1::text AND s.deleted_at > clock_timestamp()
FOR KEY SHARE OF s
