-- Delayed rows -----------------------------------------------------------------------------------
-- A row that is not due must not stand in procrastinate_jobs: every fetch reads past it in the order of
-- the index (100,000 of them cost 100 ms a fetch). So what is published for later, put back or parked waits
-- in engine.delayed. Every worker moves what is due into the queue (engine.promote), and whoever frees a
-- slot moves the row that has been parked for it for longest (engine.wake_parked). Each move is one commit:
-- a row is here or in the queue, never both. It keeps its id, and with it its place in the queue's order.
--
-- Rows that an older version scheduled in procrastinate_jobs itself, and its notes in engine.parked, are
-- still served; `prune` moves the scheduled ones here (engine.set_aside).

CREATE TABLE IF NOT EXISTS engine.delayed (
    id bigint PRIMARY KEY DEFAULT nextval('public.procrastinate_jobs_id_seq'),
    due_at timestamptz NOT NULL,
    queue_name text NOT NULL,
    task_name text NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    args jsonb NOT NULL,
    key text,
    most integer CHECK (most > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((key IS NULL) = (most IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX IF NOT EXISTS delayed_due_at_idx ON engine.delayed (due_at, id);
CREATE INDEX IF NOT EXISTS delayed_key_idx ON engine.delayed (key, id) WHERE key IS NOT NULL;

COMMENT ON TABLE engine.delayed IS
    'Queue rows that are not due yet: published for later, put back, or parked. Workers move them into procrastinate_jobs.';
COMMENT ON COLUMN engine.delayed.id IS 'The id that the row will have in procrastinate_jobs.';
COMMENT ON COLUMN engine.delayed.due_at IS 'From then on the next worker that looks moves the row into the queue.';
COMMENT ON COLUMN engine.delayed.args IS 'As in procrastinate_jobs: an event, or several with their attempt.';
COMMENT ON COLUMN engine.delayed.key IS
    'The concurrency limit (engine.slots.key) for which the row is parked; null: it waits for its time alone.';
COMMENT ON COLUMN engine.delayed.most IS 'How many slots the key has.';
COMMENT ON COLUMN engine.delayed.created_at IS 'When it was put here; of a parked row, since when it is parked.';

ALTER TABLE engine.delayed ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.delayed FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS delayed_service ON engine.delayed;
CREATE POLICY delayed_service ON engine.delayed TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON engine.delayed TO service_role;

-- In ---------------------------------------------------------------------------------------------
-- Workers look at the table every few seconds at the latest, and then know when the next row is due. Only a
-- row that may be due before they look needs a notification: one a queue and transaction.

CREATE OR REPLACE FUNCTION engine.delay(p_rows jsonb) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO engine.delayed (due_at, queue_name, task_name, priority, args, key, most)
    SELECT clock_timestamp() + r.delay * interval '1 second', r.queue, r.task, r.priority, r.args, r.key, r.most
      FROM ROWS FROM (jsonb_to_recordset(p_rows)
                      AS (queue text, task text, priority integer, delay double precision, args jsonb, key text,
                          most integer))
           WITH ORDINALITY AS r (queue, task, priority, delay, args, key, most, n)
     WHERE r.delay > 0
     ORDER BY r.n;
    GET DIAGNOSTICS written = ROW_COUNT;
    PERFORM pg_notify(channel, '{"type": "row_delayed"}')
       FROM (SELECT DISTINCT r.queue FROM jsonb_to_recordset(p_rows) AS r (queue text, delay double precision)
              WHERE r.delay > 0 AND r.delay < 5) soon,
            unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || soon.queue]) AS channel;
    RETURN written;
END $$;
COMMENT ON FUNCTION engine.delay(jsonb) IS
    'Lets the rows of engine.enqueue wait that have a delay; how many.';

-- Rows that are due go into the queue, the others wait; the ids are those of the queue.
CREATE OR REPLACE FUNCTION engine.enqueue(p_rows jsonb) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF p_rows @? '$[*].delay ? (@ > 0)' THEN
        PERFORM engine.delay(p_rows);
    END IF;
    RETURN (
        SELECT public.procrastinate_defer_jobs_v1(array_agg(
                   row(r.queue, r.task, r.priority, NULL, NULL, r.args, NULL
                   )::public.procrastinate_job_to_defer_v1 ORDER BY r.n))
          FROM ROWS FROM (jsonb_to_recordset(p_rows)
                          AS (queue text, task text, priority integer, args jsonb, delay double precision))
               WITH ORDINALITY AS r (queue, task, priority, args, delay, n)
         WHERE r.delay IS NULL OR r.delay <= 0);
END $$;
COMMENT ON FUNCTION engine.enqueue(jsonb) IS
    'Inserts rows, [{"queue", "task", "priority", "args", "delay" in seconds, "key" and "most" of a parked one}, …]: '
    'those that are due into the queue, whose ids it returns, the others into engine.delayed.';

-- Out --------------------------------------------------------------------------------------------
-- The planner's settings are pinned, because the statistics of a table that fills and empties are wrong:
-- rows come from the index in the order of their time, and reading stops at the last one wanted. The search
-- path names `public` because Procrastinate's triggers rely on it.

CREATE OR REPLACE FUNCTION engine.promote(p_most integer, OUT moved integer, OUT next_s double precision)
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    WITH due AS (
        SELECT d.id FROM engine.delayed d WHERE d.due_at <= moment
         ORDER BY d.due_at, d.id LIMIT p_most FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM engine.delayed d USING due WHERE d.id = due.id
        RETURNING d.id, d.queue_name, d.task_name, d.priority, d.args
    )
    INSERT INTO public.procrastinate_jobs (id, queue_name, task_name, priority, args)
    SELECT t.id, t.queue_name, t.task_name, t.priority, t.args FROM taken t;
    GET DIAGNOSTICS moved = ROW_COUNT;
    SELECT extract(epoch FROM d.due_at - clock_timestamp()) INTO next_s
      FROM engine.delayed d ORDER BY d.due_at, d.id LIMIT 1;
END $$;
COMMENT ON FUNCTION engine.promote(integer) IS
    'Moves up to p_most rows that are due into the queue; how many, and the seconds until the next is due (null: none).';

-- Wake the row that has been parked for longest, if the key has a free slot. Under the same lock as taking slots, so
-- that a row cannot be parked behind the back of the delivery that was about to wake it. Those that an older version
-- parked come first: they are older.
CREATE OR REPLACE FUNCTION engine.wake_parked(p_key text, p_most integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_sort = off AS $$
DECLARE
    oldest bigint;
    queue text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('engine.slots/' || p_key, 0));
    IF (SELECT count(*) FROM engine.slots s
         WHERE s.key = p_key AND engine.is_live(s.row_id, s.attempts, s.worker_id)) >= p_most THEN
        RETURN NULL;
    END IF;
    LOOP
        DELETE FROM engine.parked p WHERE p.row_id = (
            SELECT first.row_id FROM engine.parked first WHERE first.key = p_key ORDER BY first.row_id LIMIT 1)
        RETURNING p.row_id INTO oldest;
        EXIT WHEN oldest IS NULL;
        UPDATE public.procrastinate_jobs SET scheduled_at = NULL WHERE id = oldest AND status = 'todo'
        RETURNING queue_name INTO queue;
        IF FOUND THEN
            -- Workers listen for inserted rows; this one is as good as inserted.
            PERFORM pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', oldest)::text)
               FROM unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || queue]) AS channel;
            RETURN oldest;
        END IF;
        -- Its time had come before its turn, and a worker has it: the next one, then.
    END LOOP;
    -- One that is locked is being moved because its time has come.
    WITH taken AS (
        DELETE FROM engine.delayed d WHERE d.id = (
            SELECT first.id FROM engine.delayed first WHERE first.key = p_key
             ORDER BY first.id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING d.id, d.queue_name, d.task_name, d.priority, d.args
    )
    INSERT INTO public.procrastinate_jobs (id, queue_name, task_name, priority, args)
    SELECT t.id, t.queue_name, t.task_name, t.priority, t.args FROM taken t
    RETURNING id INTO oldest;
    RETURN oldest;
END $$;
COMMENT ON FUNCTION engine.wake_parked(text, integer) IS
    'Makes the longest parked row of a key due, if fewer than p_most of its slots are held by live deliveries; its row.';

CREATE OR REPLACE FUNCTION engine.set_aside(p_most integer) RETURNS integer
LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH scheduled AS (
        DELETE FROM public.procrastinate_jobs j USING (
            SELECT s.id FROM public.procrastinate_jobs s
             WHERE s.status = 'todo' AND s.scheduled_at > now() AND s.attempts = 0
               AND s.task_name IN ('consume', 'consume_parcel', 'perform') AND s.lock IS NULL AND s.queueing_lock IS NULL
               AND NOT EXISTS (SELECT FROM engine.parked p WHERE p.row_id = s.id)
             LIMIT p_most FOR UPDATE SKIP LOCKED) late
         WHERE j.id = late.id
        RETURNING j.id, j.scheduled_at, j.queue_name, j.task_name, j.priority, j.args
    ), written AS (
        INSERT INTO engine.delayed (id, due_at, queue_name, task_name, priority, args)
        SELECT s.id, s.scheduled_at, s.queue_name, s.task_name, s.priority, s.args FROM scheduled s
        RETURNING id
    )
    SELECT count(*)::integer FROM written
$$;
COMMENT ON FUNCTION engine.set_aside(integer) IS
    'Moves rows that an older version scheduled in the queue itself to engine.delayed, up to p_most; how many.';

-- What is ours, and where an event can wait -------------------------------------------------------
-- Other programs may use Procrastinate in the same database. The planner sees through both functions, so
-- their search paths are not pinned, and every name is qualified. A function and no view: a view would
-- forbid Procrastinate's own migrations to change its tables.

CREATE OR REPLACE FUNCTION engine.is_ours(p_task text, p_queue text, p_queues text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_task IN ('consume', 'consume_parcel', 'perform') OR p_queue = ANY(p_queues)
$$;
COMMENT ON FUNCTION engine.is_ours(text, text, text[]) IS
    'Whether a row of procrastinate_jobs is this program''s: of one of its tasks, or in one of its queues (p_queues).';

CREATE OR REPLACE FUNCTION engine.waiting(p_queues text[] DEFAULT '{}')
RETURNS TABLE (place text, row_id bigint, queue_name text, task_name text, priority integer, args jsonb, status text,
               attempts integer, worker_id bigint, due_at timestamptz, key text, parked_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT 'queue', j.id, j.queue_name::text, j.task_name::text, j.priority, j.args, j.status::text, j.attempts,
           j.worker_id, j.scheduled_at, p.key, p.parked_at
      FROM public.procrastinate_jobs j LEFT JOIN engine.parked p ON p.row_id = j.id
     WHERE j.status IN ('todo', 'doing', 'failed') AND engine.is_ours(j.task_name, j.queue_name, p_queues)
    UNION ALL
    SELECT 'delayed', d.id, d.queue_name, d.task_name, d.priority, d.args, 'todo', 0,
           NULL, d.due_at, d.key, CASE WHEN d.key IS NOT NULL THEN d.created_at END
      FROM engine.delayed d
$$;
COMMENT ON FUNCTION engine.waiting(text[]) IS
    'Every row of this program (see engine.is_ours) that is not at its end: in the queue (todo, doing, failed) and '
    'delayed (todo). due_at null: it is due; key: it is parked for that limit.';

REVOKE ALL ON FUNCTION engine.delay(jsonb), engine.enqueue(jsonb), engine.promote(integer), engine.wake_parked(text, integer),
    engine.set_aside(integer),
    engine.is_ours(text, text, text[]), engine.waiting(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.delay(jsonb), engine.enqueue(jsonb), engine.promote(integer), engine.wake_parked(text, integer),
    engine.set_aside(integer),
    engine.is_ours(text, text, text[]), engine.waiting(text[]) TO service_role;
