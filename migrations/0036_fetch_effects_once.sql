-- Fetch effects in one round trip ------------------------------------------------------------------
-- A worker remembers the share of its last delivery. If no other share has a due row, that share's next
-- row is taken without a search for shares: two looks into the index instead of five. Rows that come before
-- all effects, and the oldest row if no effect is due, are fetched by the same call.
--
-- Workers of an older version call engine.waiting_shares and engine.fetch_share, which stay as they are.

-- Rows are looked up by their ids: a join with the list of ids may read the whole queue for each row of it,
-- and does so while the statistics say that the queue holds one row.

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
     WHERE j.id = (SELECT f.id FROM free f)
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
    DELETE FROM public.procrastinate_jobs j
     WHERE j.id = ANY(ARRAY(SELECT s.id FROM sibling s))
    RETURNING j.id, j.args::text;
END $$;

-- Fetch ------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION engine.is_alone(p_queues text[], p_queue text, p_share text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    queue text;
BEGIN
    FOREACH queue IN ARRAY p_queues LOOP
        IF queue <> p_queue THEN
            IF engine.next_share(queue, '', chr(1114111)) IS NOT NULL THEN
                RETURN false;
            END IF;
        ELSIF engine.next_share(queue, p_share, chr(1114111)) IS NOT NULL
           OR engine.next_share(queue, '', p_share) IS NOT NULL THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$;
COMMENT ON FUNCTION engine.is_alone(text[], text, text) IS
    'Whether no share but p_share of p_queue has a due row in p_queues. It need not have one itself.';

CREATE OR REPLACE FUNCTION engine.fetch_effect(
    p_worker_id bigint, p_all varchar[], p_above integer, p_queues text[], p_queue text, p_share text,
    p_after text, p_tenants integer, p_accounts integer, p_served text[]
) RETURNS TABLE (
    share_queue text, share text, weight double precision, id bigint, status public.procrastinate_job_status,
    task_name varchar, priority integer, lock text, queueing_lock text, scheduled_at timestamptz, queue_name varchar,
    attempts integer, worker_id bigint, args jsonb)
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    shares integer := 0;
BEGIN
    IF p_above IS NULL OR NOT EXISTS (
        SELECT FROM public.procrastinate_jobs j
         WHERE j.status = 'todo' AND j.priority > p_above AND (p_all IS NULL OR j.queue_name = ANY(p_all))
           AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
    ) THEN
        IF p_share IS NOT NULL AND engine.is_alone(p_queues, p_queue, p_share) THEN
            share_queue := p_queue;
            share := p_share;
            weight := CASE WHEN EXISTS (SELECT FROM engine.tenant_weights)
                           THEN engine.tenant_weight(split_part(p_share, '/', 1)) ELSE 1 END;
        ELSE
            FOR share_queue, share, weight IN
                SELECT w.queue_name, w.share, w.weight
                  FROM engine.waiting_shares(p_queues, p_after, p_tenants, p_accounts, p_served) w
            LOOP
                shares := shares + 1;
                RETURN NEXT;
            END LOOP;
            IF shares > 1 THEN
                RETURN;
            END IF;
        END IF;
    END IF;
    IF share IS NOT NULL THEN
        -- As engine.fetch_share, without the arguments: they may be long, and are read where the row is claimed.
        WITH free AS MATERIALIZED (
            SELECT c.id FROM public.procrastinate_jobs c
             WHERE c.status = 'todo' AND c.task_name = 'perform' AND c.queue_name = share_queue
               AND engine.share(c.args) COLLATE "C" >= share AND engine.share(c.args) COLLATE "C" <= share
               AND (c.scheduled_at IS NULL OR c.scheduled_at <= now()) AND c.lock IS NULL
             ORDER BY engine.share(c.args) COLLATE "C", c.priority DESC, c.id
             LIMIT 1
               FOR UPDATE SKIP LOCKED)
        UPDATE public.procrastinate_jobs j SET status = 'doing', worker_id = p_worker_id
         WHERE j.id = (SELECT f.id FROM free f)
        RETURNING j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.scheduled_at, j.queue_name,
                  j.attempts, j.worker_id, '{}'
             INTO id, status, task_name, priority, lock, queueing_lock, scheduled_at, queue_name,
                  attempts, worker_id, args;
        IF id IS NOT NULL THEN
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
    SELECT NULL::text, NULL::text, NULL::double precision, o.id, o.status, o.task_name, o.priority, o.lock,
           o.queueing_lock, o.scheduled_at, o.queue_name, o.attempts, o.worker_id,
           CASE WHEN o.task_name IN ('consume', 'consume_parcel', 'perform') THEN '{}' ELSE o.args END
      FROM public.procrastinate_fetch_job_v2(p_all, p_worker_id) o
     WHERE o.id IS NOT NULL;
END $$;
COMMENT ON FUNCTION engine.fetch_effect(
    bigint, varchar[], integer, text[], text, text, text, integer, integer, text[]) IS
    'Fetches a row of p_all (null: any queue) for a worker whose queues of effects are p_queues. A row with a priority '
    'above p_above (null: none) comes before all effects. If several shares wait, returns them without a row: the '
    'worker chooses (engine.fetch_share). Otherwise the last row has an id: that of the next row of the share that waits '
    '(p_share of p_queue is the one served last), or of the oldest row if none waits. Other parameters: as '
    'engine.waiting_shares.';

REVOKE ALL ON FUNCTION engine.is_alone(text[], text, text),
    engine.fetch_effect(bigint, varchar[], integer, text[], text, text, text, integer, integer, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.is_alone(text[], text, text),
    engine.fetch_effect(bigint, varchar[], integer, text[], text, text, text, integer, integer, text[]) TO service_role;
