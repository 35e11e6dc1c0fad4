-- Take rows once ----------------------------------------------------------------------------------
-- A subquery with LIMIT and FOR UPDATE SKIP LOCKED in FROM or USING is no list that stands still: where
-- the planner puts it on the inner side of a nested loop, it runs again for each row of the outer side and
-- locks other rows each time. It does so while the statistics say that the queue holds one row. Then
-- fetch_share fails with "query returned more than one row", and claim and set_aside take more than they
-- may. A materialized CTE runs once.

CREATE OR REPLACE FUNCTION engine.fetch_share(p_queue varchar, p_share text, p_worker_id bigint)
RETURNS public.procrastinate_jobs
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    taken public.procrastinate_jobs;
BEGIN
    WITH free AS MATERIALIZED (
        SELECT c.id FROM public.procrastinate_jobs c
         WHERE c.status = 'todo' AND c.task_name = 'perform' AND c.queue_name = p_queue
           AND engine.share(c.args) COLLATE "C" >= p_share AND engine.share(c.args) COLLATE "C" <= p_share
           AND (c.scheduled_at IS NULL OR c.scheduled_at <= now()) AND c.lock IS NULL
         ORDER BY engine.share(c.args) COLLATE "C", c.priority DESC, c.id
         LIMIT 1
           FOR UPDATE SKIP LOCKED)
    UPDATE public.procrastinate_jobs j SET status = 'doing', worker_id = p_worker_id
      FROM free
     WHERE j.id = free.id
    RETURNING j.* INTO taken;
    RETURN taken;
END $$;

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
    WITH sibling AS MATERIALIZED (
        SELECT s.id FROM public.procrastinate_jobs s
         WHERE s.status = 'todo' AND s.queue_name = own.queue_name AND s.task_name = own.task_name
           AND s.attempts = 0 AND s.scheduled_at IS NULL AND s.lock IS NULL AND NOT s.args ? 'events'
         ORDER BY s.priority DESC, s.id
         LIMIT p_limit
           FOR UPDATE SKIP LOCKED)
    DELETE FROM public.procrastinate_jobs j USING sibling
     WHERE j.id = sibling.id
    RETURNING j.id, j.args::text;
END $$;

CREATE OR REPLACE FUNCTION engine.set_aside(p_most integer) RETURNS integer
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH late AS MATERIALIZED (
        SELECT s.id FROM public.procrastinate_jobs s
         WHERE s.status = 'todo' AND s.scheduled_at > now() AND s.attempts = 0
           AND s.task_name IN ('consume', 'consume_parcel', 'perform') AND s.lock IS NULL AND s.queueing_lock IS NULL
           AND NOT EXISTS (SELECT FROM engine.parked p WHERE p.row_id = s.id)
         LIMIT p_most FOR UPDATE SKIP LOCKED
    ), scheduled AS (
        DELETE FROM public.procrastinate_jobs j USING late
         WHERE j.id = late.id
        RETURNING j.id, j.scheduled_at, j.queue_name, j.task_name, j.priority, j.args
    ), written AS (
        INSERT INTO engine.delayed (id, due_at, queue_name, task_name, priority, args)
        SELECT s.id, s.scheduled_at, s.queue_name, s.task_name, s.priority, s.args FROM scheduled s
        RETURNING id
    )
    SELECT count(*)::integer FROM written
$$;
