-- Refill running deliveries of effects -------------------------------------------------------------
-- The commit that records outcomes may take more waiting events of the delivery's share into its row. Slots
-- then stay where they are, instead of being freed, kept for a woken row, and taken by its delivery: three
-- transactions for each row. A worker does not fetch rows of a share whose slots its own delivery holds.

CREATE OR REPLACE FUNCTION engine.can_join(p_args jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT p_args -> 'attempt' = '0' AND jsonb_typeof(p_args -> 'events') = 'array' AND NOT p_args ? 'since'
$$;
COMMENT ON FUNCTION engine.can_join(jsonb) IS
    'Whether a row with these arguments may join a running delivery: its events were neither tried nor set aside.';

CREATE OR REPLACE FUNCTION engine.take_joining(
    p_queue text, p_share text, p_key text, p_most integer, OUT row_id bigint, OUT args jsonb, OUT is_refused boolean
) LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    waiting record;
    is_parked boolean;
BEGIN
    -- Parked rows first: they have waited longer.
    SELECT d.id, d.args, d.queue_name = p_queue AND engine.share(d.args) = p_share AND engine.can_join(d.args) AS joins
      INTO waiting FROM engine.delayed d WHERE d.key = p_key ORDER BY d.id LIMIT 1 FOR UPDATE SKIP LOCKED;
    is_parked := FOUND;
    IF NOT is_parked THEN
        SELECT j.id, j.args, j.attempts = 0 AND engine.can_join(j.args) AS joins
          INTO waiting FROM public.procrastinate_jobs j
         WHERE j.status = 'todo' AND j.task_name = 'perform' AND j.queue_name = p_queue
           AND engine.share(j.args) COLLATE "C" >= p_share AND engine.share(j.args) COLLATE "C" <= p_share
           AND (j.scheduled_at IS NULL OR j.scheduled_at <= now()) AND j.lock IS NULL
         ORDER BY engine.share(j.args) COLLATE "C", j.priority DESC, j.id
         LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    is_refused := waiting.joins IS NOT TRUE;
    IF is_refused OR jsonb_array_length(waiting.args -> 'events') > p_most THEN
        RETURN;
    END IF;
    row_id := waiting.id;
    args := waiting.args;
    IF is_parked THEN
        DELETE FROM engine.delayed d WHERE d.id = waiting.id;
    ELSE
        DELETE FROM public.procrastinate_jobs j WHERE j.id = waiting.id;
    END IF;
END $$;
COMMENT ON FUNCTION engine.take_joining(text, text, text, integer) IS
    'Removes the next waiting row of a share, with at most p_most events, and returns it: the longest parked row for the '
    'limit p_key, else the next row of the queue. No row: nothing waits, or is_refused: the next row cannot join a '
    'running delivery, and must be delivered by itself.';

CREATE OR REPLACE FUNCTION engine.hold_delivery(
    p_row_id bigint, p_attempts integer, p_worker_id bigint, p_limits text[], p_calls uuid[], p_more integer,
    p_lock_timeout text
) RETURNS TABLE (row_id bigint, args text, is_refused boolean)
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    own record;
    taken record;
    limit_key text;
    left_over integer := p_more;
BEGIN
    IF p_more > 0 THEN
        PERFORM set_config('lock_timeout', p_lock_timeout, true);
    END IF;
    FOREACH limit_key IN ARRAY p_limits LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('engine.slots/' || limit_key, 0));
    END LOOP;
    SELECT j.id, j.queue_name, engine.share(j.args) AS share INTO own FROM public.procrastinate_jobs j
     WHERE j.id = p_row_id AND j.status = 'doing' AND j.attempts = p_attempts
       AND j.worker_id IS NOT DISTINCT FROM p_worker_id
       FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT own.id, NULL::text, false;
    PERFORM FROM engine.calls c WHERE c.call_key = ANY(p_calls) ORDER BY c.call_key FOR UPDATE;
    IF p_more <= 0 OR EXISTS (SELECT FROM engine.paused_queues p WHERE p.queue_name = own.queue_name)
       OR EXISTS (SELECT FROM engine.rescues r
                   WHERE r.queue_name = own.queue_name AND r.at > now() - interval '1 minute' AND NOT r.by_restart) THEN
        RETURN;
    END IF;
    WHILE left_over > 0 LOOP
        SELECT * INTO taken FROM engine.take_joining(own.queue_name, own.share, p_limits[1], left_over);
        IF taken.row_id IS NULL THEN
            IF taken.is_refused THEN
                RETURN QUERY SELECT NULL::bigint, NULL::text, true;
            END IF;
            RETURN;
        END IF;
        left_over := left_over - jsonb_array_length(taken.args -> 'events');
        RETURN QUERY SELECT taken.row_id, taken.args::text, false;
    END LOOP;
END $$;
COMMENT ON FUNCTION engine.hold_delivery(bigint, integer, bigint, text[], uuid[], integer, text) IS
    'Locks the limits, the row and the calls of a delivery, in this order, and takes up to p_more waiting events of its '
    'share (p_limits then has one key). No row: the lease is lost. The first row is the delivery''s own, without '
    'arguments; the others were taken. is_refused, in the last row: the next row must be delivered by itself.';

CREATE OR REPLACE FUNCTION engine.begin_joining(
    p_row_id bigint, p_attempts integer, p_worker_id bigint, p_calls uuid[], p_events uuid[], p_rests text[]
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    begun integer;
BEGIN
    INSERT INTO engine.calls (call_key, event_id, row_id, attempts, worker_id)
    SELECT wanted.call_key, wanted.event_id, p_row_id, p_attempts, p_worker_id
      FROM unnest(p_calls, p_events) AS wanted (call_key, event_id)
     ORDER BY wanted.call_key
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS begun = ROW_COUNT;
    RETURN begun = cardinality(p_calls)
       AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = ANY(p_events))
       AND NOT EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id = ANY(p_events) AND f.resolved_at IS NULL)
       AND NOT EXISTS (SELECT FROM engine.calls c WHERE c.event_id = ANY(p_events) AND c.call_key <> ALL(p_calls))
       AND NOT EXISTS (SELECT FROM engine.rests r WHERE r.key = ANY(p_rests) AND r.until > clock_timestamp());
END $$;
COMMENT ON FUNCTION engine.begin_joining(bigint, integer, bigint, uuid[], uuid[], text[]) IS
    'Marks calls of events as begun by a delivery. False: one was begun before, an event was applied or has a dead '
    'letter, or a key of p_rests cools down; the caller then rolls back.';

CREATE OR REPLACE FUNCTION engine.keep_delivery(
    p_row_id bigint, p_attempts integer, p_worker_id bigint, p_args jsonb, p_keys text[], p_most integer[],
    p_wanted integer[]
) RETURNS integer[]
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    held integer[] := '{}';
    own integer;
BEGIN
    IF p_args IS NULL THEN
        DELETE FROM public.procrastinate_jobs WHERE id = p_row_id;
    ELSE
        UPDATE public.procrastinate_jobs SET args = p_args WHERE id = p_row_id;
    END IF;
    FOR i IN 1 .. cardinality(p_keys) LOOP
        SELECT count(*) INTO own FROM engine.slots s
         WHERE s.key = p_keys[i] AND s.row_id = p_row_id AND s.attempts = p_attempts
           AND s.worker_id IS NOT DISTINCT FROM p_worker_id AND s.reserved_until IS NULL;
        IF own <> p_wanted[i] THEN
            own := engine.take_slots(p_keys[i], p_most[i], p_wanted[i], p_row_id, p_attempts, p_worker_id);
        END IF;
        held := held || own;
        IF own < p_most[i]
           AND NOT EXISTS (SELECT FROM engine.rests r WHERE r.key = p_keys[i] AND r.until > clock_timestamp()) THEN
            PERFORM engine.wake_parked(p_keys[i], p_most[i]);
        END IF;
    END LOOP;
    RETURN held;
END $$;
COMMENT ON FUNCTION engine.keep_delivery(bigint, integer, bigint, jsonb, text[], integer[], integer[]) IS
    'Keeps only the events of p_args in a held delivery (null: ends it), sets how many slots of each limit it holds, up '
    'to p_wanted, and wakes the longest parked row of each limit with a free slot. Returns the slots that it holds.';

CREATE OR REPLACE FUNCTION engine.fetch_effect(
    p_worker_id bigint, p_all varchar[], p_above integer, p_queues text[], p_queue text, p_share text,
    p_after text, p_tenants integer, p_accounts integer, p_served text[], p_skipped text[]
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
                 WHERE w.share || ' ' || w.queue_name <> ALL (p_skipped)
            LOOP
                shares := shares + 1;
                RETURN NEXT;
            END LOOP;
            IF shares > 1 THEN
                RETURN;
            END IF;
        END IF;
    END IF;
    IF share IS NOT NULL AND share || ' ' || share_queue <> ALL (p_skipped) THEN
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
      FROM public.procrastinate_fetch_job_v2(
               -- The oldest row of all may be one of a share that is skipped.
               CASE WHEN p_skipped = '{}' THEN p_all
                    ELSE ARRAY(SELECT q FROM unnest(p_all) AS q WHERE q <> ALL (p_queues)) END,
               p_worker_id) o
     WHERE o.id IS NOT NULL;
END $$;
COMMENT ON FUNCTION engine.fetch_effect(
    bigint, varchar[], integer, text[], text, text, text, integer, integer, text[], text[]) IS
    'Fetches a row of p_all (null: any queue) for a worker whose queues of effects are p_queues. A row with a priority '
    'above p_above (null: none) comes before all effects. If several shares wait, returns them without a row: the '
    'worker chooses (engine.fetch_share). Otherwise the last row has an id: that of the next row of the share that waits '
    '(p_share of p_queue is the one served last), or of the oldest row if none waits. p_skipped: shares, each with its '
    'queue, whose rows a running delivery takes. Other parameters: as engine.waiting_shares.';


REVOKE ALL ON FUNCTION engine.can_join(jsonb),
    engine.take_joining(text, text, text, integer),
    engine.hold_delivery(bigint, integer, bigint, text[], uuid[], integer, text),
    engine.begin_joining(bigint, integer, bigint, uuid[], uuid[], text[]),
    engine.keep_delivery(bigint, integer, bigint, jsonb, text[], integer[], integer[]),
    engine.fetch_effect(bigint, varchar[], integer, text[], text, text, text, integer, integer, text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.can_join(jsonb),
    engine.take_joining(text, text, text, integer),
    engine.hold_delivery(bigint, integer, bigint, text[], uuid[], integer, text),
    engine.begin_joining(bigint, integer, bigint, uuid[], uuid[], text[]),
    engine.keep_delivery(bigint, integer, bigint, jsonb, text[], integer[], integer[]),
    engine.fetch_effect(bigint, varchar[], integer, text[], text, text, text, integer, integer, text[], text[]) TO service_role;
