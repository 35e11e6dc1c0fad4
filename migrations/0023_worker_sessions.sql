-- Sessions of workers ----------------------------------------------------------------------------
-- Each worker process keeps one database session open for as long as it lives, and that session holds an
-- advisory lock, (1952541804, session_key). PostgreSQL ends the session when the process dies, so a worker
-- that registered with a key and whose lock nobody holds is gone. What a session cannot show (a frozen
-- process, a cut network) is still found by the heartbeat.

ALTER TABLE engine.workers ADD COLUMN IF NOT EXISTS session_key integer CHECK (session_key > 0);
ALTER TABLE engine.workers ADD COLUMN IF NOT EXISTS server_started_at timestamptz;
COMMENT ON COLUMN engine.workers.session_key IS
    'The advisory lock (1952541804, session_key) that the worker''s process holds while it lives; null: it holds none.';
COMMENT ON COLUMN engine.workers.server_started_at IS
    'Start of the server on which it registered. Another start time: the server was restarted or failed over.';

ALTER TABLE engine.rescues ADD COLUMN IF NOT EXISTS by_restart boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN engine.rescues.by_restart IS
    'A restart or failover of the server ended the worker''s session. That says nothing against the events.';

CREATE OR REPLACE FUNCTION engine.gone_workers() RETURNS TABLE (worker_id bigint, by_restart boolean)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT w.worker_id, w.server_started_at IS DISTINCT FROM pg_catalog.pg_postmaster_start_time()
      FROM engine.workers w
     WHERE w.session_key IS NOT NULL
       AND w.session_key NOT IN (
           SELECT l.objid::bigint FROM pg_catalog.pg_locks l
            WHERE l.locktype = 'advisory' AND l.classid = 1952541804::oid AND l.objsubid = 2 AND l.granted
              AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
$$;
COMMENT ON FUNCTION engine.gone_workers() IS
    'Registered workers whose session has ended; by_restart: because the server was restarted or failed over.';

REVOKE ALL ON FUNCTION engine.gone_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.gone_workers() TO service_role;
