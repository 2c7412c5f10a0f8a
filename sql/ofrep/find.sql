-- sql/ofrep/find.sql
-- Returns for each (user, slug): is the segment live, is it automatic, is the user in by hand.
--
-- $1 user_ids bigint[]
-- $2 slugs    text[], one for each of them
--
-- Returns: a row for each pair, in the order asked: live boolean, automatic boolean,
--          by_hand boolean: whether the user is in by hand now
-- Locks:   none
-- Index:   segment_slug_deleted_at_key, membership_segment_id_user_id_idx
--
-- Whether the user is in is the answer of users/list_at. At most one period of a user and a segment
-- covers now, so each pair has one row.

SELECT
    s.id IS NOT NULL AS live,
    r.segment_id IS NOT NULL AS automatic,
    m.segment_id IS NOT NULL AS by_hand
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (user_id, slug, ordinal)
LEFT JOIN segment AS s ON asked.slug = s.slug AND s.deleted_at > now()
LEFT JOIN rollout AS r ON s.id = r.segment_id AND r.valid_to > now() AND r.valid_from <= now()
LEFT JOIN membership AS m
    ON
        asked.user_id = m.user_id
        AND s.id = m.segment_id
        AND m.included
        AND m.valid_to > now()
        AND m.valid_from <= now()
ORDER BY asked.ordinal
