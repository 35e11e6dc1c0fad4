-- Claim after a restart ---------------------------------------------------------------------------
-- For a minute after a rescue a delivery takes no siblings along, so that an event that kills its worker
-- stands alone. A restart or failover of the server rescues whatever was in hand and says nothing against any
-- event: siblings are taken along as before.

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
                               WHERE r.queue_name = own.queue_name AND r.at > now() - interval '1 minute'
                                 AND NOT r.by_restart) THEN
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
