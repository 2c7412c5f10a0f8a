-- sql/db/pin_settings.sql
-- Gives settings of this session their values, against the defaults of the database and the role.
--
-- $1 names  text[]
-- $2 values text[], one for each name
--
-- Returns: a row for each setting: set_config text, its new value
-- Locks:   none
-- Index:   none
--
-- Run once in each new connection. Settings that this version of PostgreSQL does not have are left
-- out. synchronous_commit is raised from off alone: an operator may wait for standbys.

SELECT set_config(pinned.name, pinned.setting, FALSE)
FROM unnest($1::text[], $2::text[]) AS pinned (name, setting)
WHERE
    current_setting(pinned.name, TRUE) IS NOT NULL
    AND (pinned.name <> 'synchronous_commit' OR current_setting(pinned.name) = 'off')
