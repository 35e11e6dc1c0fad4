-- The queue --------------------------------------------------------------------------------------
-- Procrastinate's tables are its own and are not changed. Around them: who may touch them, how often
-- they are vacuumed and analysed, and how a delivery takes its row and its waiting siblings.

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'procrastinate_jobs', 'procrastinate_workers', 'procrastinate_events', 'procrastinate_periodic_defers'
    ] LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON public.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO service_role', table_name);
        -- They swing between empty and full within a second; the defaults would look at them a minute later.
        EXECUTE format('ALTER TABLE public.%I SET (autovacuum_vacuum_scale_factor = 0, '
            'autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 0, '
            'autovacuum_vacuum_insert_threshold = 5000, autovacuum_analyze_scale_factor = 0, '
            'autovacuum_analyze_threshold = 1000, autovacuum_vacuum_cost_delay = 0)', table_name);
    END LOOP;
END $$;

GRANT USAGE ON SEQUENCE public.procrastinate_jobs_id_seq, public.procrastinate_events_id_seq,
    public.procrastinate_periodic_defers_id_seq TO service_role;

-- Claim ------------------------------------------------------------------------------------------
-- A delivery takes the row that Procrastinate fetched for it, and up to p_limit waiting siblings, by
-- deleting them: inside the transaction that applies their events, so they are gone if and only if
-- the events are applied, and waiting again the moment the transaction or its worker dies.
--
-- The fetched row goes only if it is still this delivery's: a worker that was taken for dead and came
-- back finds nothing here and stops. Siblings are rows that nobody has tried and nobody put back;
-- for a minute after a rescue there are none, so that an event that kills its worker stands alone.
--
-- The search path names `public` because Procrastinate's triggers, which run within, rely on it.
-- The planner's settings are pinned because the statistics of a queue are always wrong: whatever they
-- say, the siblings come from the index in their order, and reading stops at the last one wanted.

CREATE OR REPLACE FUNCTION engine.claim(p_row_id bigint, p_attempts integer, p_worker_id bigint, p_limit integer)
RETURNS TABLE (row_id bigint, args text)
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    own record;
BEGIN
    DELETE FROM public.procrastinate_jobs j
     WHERE j.id = p_row_id AND j.status = 'doing' AND j.attempts = p_attempts
       AND j.worker_id IS NOT DISTINCT FROM p_worker_id
    RETURNING j.id, j.queue_name, j.task_name, j.args::text AS args INTO own;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT own.id, own.args;
    IF p_limit <= 0 OR EXISTS (SELECT FROM engine.rescues r
                               WHERE r.queue_name = own.queue_name AND r.at > now() - interval '1 minute') THEN
        RETURN;
    END IF;
    RETURN QUERY
    DELETE FROM public.procrastinate_jobs j
     USING (SELECT s.id FROM public.procrastinate_jobs s
             WHERE s.status = 'todo' AND s.queue_name = own.queue_name AND s.task_name = own.task_name
               AND s.attempts = 0 AND s.scheduled_at IS NULL AND s.lock IS NULL AND NOT s.args ? 'events'
             ORDER BY s.priority DESC, s.id
             LIMIT p_limit
               FOR UPDATE SKIP LOCKED) sibling
     WHERE j.id = sibling.id
    RETURNING j.id, j.args::text;
END $$;
COMMENT ON FUNCTION engine.claim(bigint, integer, bigint, integer) IS
    'Takes a delivery''s own row and its waiting siblings out of the queue, in the caller''s transaction. No row: the delivery is no longer the caller''s.';

REVOKE ALL ON FUNCTION engine.claim(bigint, integer, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.claim(bigint, integer, bigint, integer) TO service_role;
