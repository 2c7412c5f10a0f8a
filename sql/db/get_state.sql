-- sql/db/get_state.sql
-- Returns whether the database and the role are what a task needs.
--
-- $1 task text: serve, read, prune, keys or migrate
--
-- Returns: one row: encoding text, database text, role text, in_recovery boolean,
--          read_only boolean, missing text[]: the statements that would give the missing rights
-- Locks:   none
-- Index:   none: the catalogs are small
--
-- Relations are looked up in the catalogs, because to_regclass fails without a right on the schema.
-- What does not exist is not missing here: the check of the migrations reports it.

WITH needed (tasks, privilege, name) AS (
    VALUES
    ('{serve,read,prune}', 'SELECT', 'segment'),
    ('{serve,read,prune}', 'SELECT', 'rollout'),
    ('{serve,read,prune}', 'SELECT', 'users'),
    ('{serve,read,prune}', 'SELECT', 'membership'),
    ('{serve,read,prune}', 'SELECT', 'layer'),
    ('{serve,read,prune}', 'SELECT', 'layer_segment'),
    ('{serve,read}', 'SELECT', 'elsewhere'),
    ('{serve,prune}', 'SELECT', 'feed'),
    ('{serve,prune}', 'INSERT', 'feed'),
    ('{serve,prune}', 'UPDATE', 'feed'),
    ('{serve,prune}', 'SELECT', 'audit'),
    ('{serve,keys}', 'INSERT', 'audit'),
    ('{prune}', 'DELETE', 'audit'),
    ('{serve}', 'INSERT', 'segment'),
    ('{serve}', 'UPDATE', 'segment'),
    ('{serve}', 'INSERT', 'rollout'),
    ('{serve}', 'UPDATE', 'rollout'),
    ('{serve}', 'INSERT', 'users'),
    ('{serve}', 'UPDATE', 'users'),
    ('{serve}', 'INSERT', 'membership'),
    ('{serve}', 'UPDATE', 'membership'),
    ('{serve}', 'INSERT', 'layer'),
    ('{serve}', 'UPDATE', 'layer'),
    ('{serve}', 'INSERT', 'layer_segment'),
    ('{serve}', 'UPDATE', 'layer_segment'),
    ('{prune}', 'DELETE', 'segment'),
    ('{prune}', 'DELETE', 'layer'),
    ('{prune}', 'DELETE', 'layer_segment'),
    ('{serve,prune}', 'DELETE', 'rollout'),
    ('{serve,prune}', 'DELETE', 'membership'),
    ('{serve}', 'DELETE', 'users'),
    ('{serve,keys}', 'SELECT', 'api_key'),
    ('{keys}', 'INSERT', 'api_key'),
    ('{keys}', 'UPDATE', 'api_key'),
    ('{serve,read,prune,keys,migrate}', 'SELECT', '_yoyo_migration'),
    ('{migrate}', 'INSERT', '_yoyo_migration'),
    ('{migrate}', 'INSERT', '_yoyo_log'),
    ('{migrate}', 'INSERT', '_yoyo_version'),
    ('{migrate}', 'SELECT', '_yoyo_version'),
    ('{migrate}', 'SELECT', 'yoyo_lock'),
    ('{migrate}', 'INSERT', 'yoyo_lock'),
    ('{migrate}', 'DELETE', 'yoyo_lock')
)

SELECT
    current_setting('server_encoding') AS encoding,
    current_database() AS database,
    current_user AS role,
    pg_is_in_recovery() AS in_recovery,
    current_setting('transaction_read_only')::boolean AS read_only,
    ARRAY(
        SELECT
            format(
                'GRANT %s ON SCHEMA public TO %I', string_agg(n.privilege, ', '), current_user
            )
        FROM (VALUES ('USAGE'), ('CREATE')) AS n (privilege)
        INNER JOIN pg_namespace AS s ON s.nspname = 'public'
        WHERE
            (n.privilege = 'USAGE' OR $1::text = 'migrate')
            AND NOT has_schema_privilege(s.oid, n.privilege)
        HAVING count(*) > 0
    )
    || ARRAY(
        SELECT
            format(
                'GRANT %s ON TABLE %I TO %I', string_agg(n.privilege, ', '), n.name, current_user
            )
        FROM needed AS n
        INNER JOIN pg_namespace AS s ON s.nspname = 'public'
        INNER JOIN pg_class AS c ON s.oid = c.relnamespace AND n.name = c.relname
        WHERE
            $1::text = ANY(n.tasks::text[])
            AND NOT has_table_privilege(c.oid, n.privilege)
        GROUP BY n.name
        ORDER BY n.name
    )
    || ARRAY(
        SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, current_user)
        FROM pg_proc AS p
        INNER JOIN pg_namespace AS s ON p.pronamespace = s.oid
        WHERE
            $1::text IN ('serve', 'read')
            AND s.nspname = 'public'
            AND p.proname IN ('rollout_point', 'rollout_points', 'stay_events')
            AND NOT has_function_privilege(p.oid, 'EXECUTE')
        ORDER BY p.proname
    )
    || ARRAY(
        SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), current_user)
        WHERE
            $1::text = 'serve'
            AND NOT has_database_privilege(current_database(), 'TEMPORARY')
    ) AS missing
