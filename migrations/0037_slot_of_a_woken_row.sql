-- Keep a slot for a woken row ----------------------------------------------------------------------
-- The delivery that frees a slot wakes the row that has been parked for longest. Until a worker fetches that
-- row, another delivery could take the slot: a row of another tenant whose turn it is, or a running delivery
-- that grows. The woken row then found no slot, and was parked again behind all others. So waking reserves
-- the slot. A reservation ends with its row, and after ten seconds: no worker may serve the row's queue.

ALTER TABLE engine.slots ADD COLUMN IF NOT EXISTS reserved_until timestamptz;
COMMENT ON COLUMN engine.slots.reserved_until IS
    'The slot is kept for a woken row until then; null: a delivery holds it.';
COMMENT ON TABLE engine.slots IS
    'How many things of one kind run at once over all workers: slot n of a key is free when no live delivery holds it '
    'and it is kept for no woken row (engine.is_taken).';

CREATE OR REPLACE FUNCTION engine.is_taken(
    p_row_id bigint, p_attempts integer, p_worker_id bigint, p_reserved_until timestamptz
) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = '' AS $$
    SELECT CASE WHEN p_reserved_until IS NULL THEN engine.is_live(p_row_id, p_attempts, p_worker_id)
                ELSE p_reserved_until > clock_timestamp()
                     AND EXISTS (SELECT FROM public.procrastinate_jobs j
                                  WHERE j.id = p_row_id AND j.status IN ('todo', 'doing')) END
$$;
COMMENT ON FUNCTION engine.is_taken(bigint, integer, bigint, timestamptz) IS
    'Whether a slot with these columns is taken: held by a live delivery, or kept for a woken row that is not over.';

CREATE OR REPLACE FUNCTION engine.take_slots(
    p_key text, p_most integer, p_wanted integer, p_row_id bigint, p_attempts integer, p_worker_id bigint
) RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    taken integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('engine.slots/' || p_key, 0));
    -- A slot that is kept for this row is among those that it takes.
    DELETE FROM engine.slots s
     WHERE s.key = p_key
       AND (s.row_id = p_row_id OR NOT engine.is_taken(s.row_id, s.attempts, s.worker_id, s.reserved_until));
    INSERT INTO engine.slots (key, n, row_id, attempts, worker_id)
    SELECT p_key, free.n, p_row_id, p_attempts, p_worker_id
      FROM generate_series(1, p_most) AS free (n)
     WHERE NOT EXISTS (SELECT FROM engine.slots s WHERE s.key = p_key AND s.n = free.n)
     ORDER BY free.n
     LIMIT greatest(0, least(p_wanted, p_most - (SELECT count(*)::integer FROM engine.slots s WHERE s.key = p_key)));
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $$;

CREATE OR REPLACE FUNCTION engine.wake_parked(p_key text, p_most integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_sort = off AS $$
DECLARE
    oldest bigint;
    queue text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('engine.slots/' || p_key, 0));
    DELETE FROM engine.slots s
     WHERE s.key = p_key AND NOT engine.is_taken(s.row_id, s.attempts, s.worker_id, s.reserved_until);
    IF (SELECT count(*) FROM engine.slots s WHERE s.key = p_key) >= p_most THEN
        RETURN NULL;
    END IF;
    LOOP
        -- Rows that an older version parked in the queue itself.
        DELETE FROM engine.parked p WHERE p.row_id = (
            SELECT first.row_id FROM engine.parked first WHERE first.key = p_key ORDER BY first.row_id LIMIT 1)
        RETURNING p.row_id INTO oldest;
        EXIT WHEN oldest IS NULL;
        UPDATE public.procrastinate_jobs SET scheduled_at = NULL WHERE id = oldest AND status = 'todo'
        RETURNING queue_name INTO queue;
        -- Not found: its time had come before its turn, and a worker has it. The next one, then.
        IF FOUND THEN
            -- Workers listen for inserted rows; this one is as good as inserted.
            PERFORM pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', oldest)::text)
               FROM unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || queue]) AS channel;
            EXIT;
        END IF;
    END LOOP;
    IF oldest IS NULL THEN
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
    END IF;
    INSERT INTO engine.slots (key, n, row_id, attempts, reserved_until)
    SELECT p_key, free.n, oldest, 0, clock_timestamp() + interval '10 seconds'
      FROM generate_series(1, p_most) AS free (n)
     WHERE oldest IS NOT NULL AND NOT EXISTS (SELECT FROM engine.slots s WHERE s.key = p_key AND s.n = free.n)
     ORDER BY free.n LIMIT 1;
    RETURN oldest;
END $$;
COMMENT ON FUNCTION engine.wake_parked(text, integer) IS
    'Makes the longest parked row of a key due and keeps a slot for it, if fewer than p_most of its slots are taken; '
    'its row.';

REVOKE ALL ON FUNCTION engine.is_taken(bigint, integer, bigint, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.is_taken(bigint, integer, bigint, timestamptz) TO service_role;
