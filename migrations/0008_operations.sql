-- Operations -------------------------------------------------------------------------------------
-- What an operator decides while workers run, and who those workers are. `paused_queues` is what every
-- worker looks up before it fetches; who paused and resumed what, when and why, is in `engine.actions`.

CREATE TABLE IF NOT EXISTS engine.paused_queues (
    queue_name text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now(),
    paused_by text NOT NULL CHECK (paused_by <> ''),
    reason text NOT NULL CHECK (reason <> '')
);
COMMENT ON TABLE engine.paused_queues IS
    'Queues from which no worker takes a delivery until somebody resumes them. What is in hand is finished.';

-- Procrastinate knows of a worker its id and its heartbeat. No foreign key: its tables stay as they are.
CREATE TABLE IF NOT EXISTS engine.workers (
    worker_id bigint PRIMARY KEY,
    name text,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[],
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE engine.workers IS
    'Who the workers of procrastinate_workers are: written by each when it starts, dropped when it is gone.';
COMMENT ON COLUMN engine.workers.worker_id IS 'The id in procrastinate_workers, where the heartbeat is.';
COMMENT ON COLUMN engine.workers.queues IS 'The queues that it serves; null: all of them.';
COMMENT ON COLUMN engine.workers.version IS 'The version of the program that it runs.';

-- Policies, then grants --------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['paused_queues', 'workers'] LOOP
        EXECUTE format('ALTER TABLE engine.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE engine.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('DROP POLICY IF EXISTS %I ON engine.%I', table_name || '_service', table_name);
        EXECUTE format('CREATE POLICY %I ON engine.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON engine.%I TO service_role', table_name);
    END LOOP;
END $$;
