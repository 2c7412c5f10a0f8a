-- sql/db/get_backend_pid.sql
-- Returns the process of the server that answers.
--
-- Returns: one row: pid integer
-- Locks:   none
-- Index:   none

SELECT pg_backend_pid() AS pid
