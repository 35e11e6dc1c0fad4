-- The engine's own tables ------------------------------------------------------------------------
-- An accepted event is in exactly one place: waiting in the queue, applied in `event_log`, or dead in
-- `failed_jobs`. `calls` remembers outside calls that were begun; `slots` bounds how many run at once;
-- `rescues` keeps what was taken from dead workers. Workers alone see any of it.

CREATE SCHEMA IF NOT EXISTS engine;
GRANT USAGE ON SCHEMA engine TO service_role;

-- The ledger -------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS engine.event_log (
    event_id uuid PRIMARY KEY,
    type text NOT NULL,
    version integer NOT NULL,
    tenant_id uuid,
    subject_id uuid,
    causation_id uuid,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS event_log_subject_id_idx ON engine.event_log (subject_id, applied_at);
CREATE INDEX IF NOT EXISTS event_log_applied_at_idx ON engine.event_log USING brin (applied_at);

COMMENT ON TABLE engine.event_log IS
    'The ledger of applied events. Its primary key is what makes an event count once; its rows are a job''s timeline.';
COMMENT ON COLUMN engine.event_log.subject_id IS 'The job or order that the event is about.';
COMMENT ON COLUMN engine.event_log.causation_id IS 'The event that this one followed from.';
COMMENT ON COLUMN engine.event_log.occurred_at IS 'When the producer said it.';
COMMENT ON COLUMN engine.event_log.applied_at IS 'When the transaction that applied it began.';

-- Dead letters -----------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS engine.failed_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_type text NOT NULL,
    event_data jsonb NOT NULL,
    error_message text NOT NULL,
    error_stack text,
    retry_count integer NOT NULL,
    failed_at timestamptz DEFAULT now(),
    resolved_at timestamptz,
    notes text,
    event_id uuid,
    tenant_id uuid,
    error_class text,
    fingerprint text,
    replay_count integer NOT NULL DEFAULT 0,
    replayed_at timestamptz,
    history jsonb NOT NULL DEFAULT '[]',
    replaced_by uuid
);
CREATE INDEX IF NOT EXISTS failed_jobs_job_type_idx ON engine.failed_jobs (job_type);
CREATE INDEX IF NOT EXISTS failed_jobs_failed_at_idx ON engine.failed_jobs (failed_at);
CREATE INDEX IF NOT EXISTS failed_jobs_unresolved_fingerprint_idx ON engine.failed_jobs (fingerprint)
    WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS failed_jobs_event_id_idx ON engine.failed_jobs (event_id);
CREATE INDEX IF NOT EXISTS failed_jobs_replaced_by_idx ON engine.failed_jobs (replaced_by) WHERE replaced_by IS NOT NULL;
CREATE INDEX IF NOT EXISTS failed_jobs_tenant_id_idx ON engine.failed_jobs (tenant_id, failed_at);
CREATE UNIQUE INDEX IF NOT EXISTS failed_jobs_unresolved_event_id_key ON engine.failed_jobs (event_id)
    WHERE resolved_at IS NULL;

COMMENT ON TABLE engine.failed_jobs IS 'Dead letters: events that will not be tried again until an admin says so.';
COMMENT ON COLUMN engine.failed_jobs.job_type IS 'The event''s type, or the queue task''s name when the row held no event.';
COMMENT ON COLUMN engine.failed_jobs.event_data IS 'The whole event, as it was published.';
COMMENT ON COLUMN engine.failed_jobs.retry_count IS 'Deliveries that failed before it was buried.';
COMMENT ON COLUMN engine.failed_jobs.resolved_at IS 'Set when it was replayed with success, or by hand.';
COMMENT ON COLUMN engine.failed_jobs.replay_count IS 'How often it was replayed.';
COMMENT ON COLUMN engine.failed_jobs.history IS
    'The deaths before the one that the row tells of, oldest first: at, error_class, error_message, retry_count.';
COMMENT ON COLUMN engine.failed_jobs.replaced_by IS
    'The event that took this one''s place: an edited copy, or the next attempt of a revived effect.';
COMMENT ON COLUMN engine.failed_jobs.fingerprint IS 'The same for the same failure: type, error class and message without ids and numbers.';

-- Outside calls ----------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS engine.calls (
    event_id uuid PRIMARY KEY,
    row_id bigint NOT NULL,
    attempts integer NOT NULL,
    worker_id bigint,
    tries integer NOT NULL DEFAULT 1,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ask_after timestamptz
);
CREATE INDEX IF NOT EXISTS calls_row_id_idx ON engine.calls (row_id);
COMMENT ON TABLE engine.calls IS
    'Effects whose outside call was begun and whose outcome is not recorded yet. Whoever finds a row here that is not '
    'its own must ask the other side before calling again.';
COMMENT ON COLUMN engine.calls.row_id IS 'With attempts and worker_id, the delivery that holds it: live while that queue row is `doing`.';

COMMENT ON COLUMN engine.calls.begun_at IS 'When the delivery began it, or last got on with its parcel.';
COMMENT ON COLUMN engine.calls.ask_after IS
    'Until then the other side may still be making up its mind about a call that ended half way: it is not asked yet.';

-- Slots ------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS engine.slots (
    key text NOT NULL,
    n integer NOT NULL CHECK (n > 0),
    row_id bigint NOT NULL,
    attempts integer NOT NULL,
    worker_id bigint,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, n)
);
COMMENT ON TABLE engine.slots IS
    'How many things of one kind run at once over all workers: slot n of a key is free when no live delivery holds it.';
COMMENT ON COLUMN engine.slots.key IS 'What is bounded, e.g. an account of a carrier''s portal.';

CREATE TABLE IF NOT EXISTS engine.parked (
    row_id bigint PRIMARY KEY,
    key text NOT NULL,
    most integer NOT NULL DEFAULT 1 CHECK (most > 0),
    parked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS parked_key_idx ON engine.parked (key, row_id);
COMMENT ON COLUMN engine.parked.most IS 'How many slots the key has.';
COMMENT ON TABLE engine.parked IS
    'Queue rows that found every slot of a key taken. They are scheduled for later, and woken as soon as a slot is free.';

-- Rescues ----------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS engine.rescues (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    row_id bigint NOT NULL,
    queue_name text NOT NULL,
    worker_id bigint,
    attempts integer NOT NULL,
    reason text NOT NULL CHECK (reason IN ('worker_gone', 'too_long')),
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS rescues_queue_name_at_idx ON engine.rescues (queue_name, at);
COMMENT ON TABLE engine.rescues IS
    'Deliveries that were taken from workers that died or hung. For a while after one, a queue''s events are delivered '
    'one by one, so that an event that kills its worker is found out alone.';

-- Whether a delivery still runs ------------------------------------------------------------------
-- VOLATILE, so that it looks at the queue as it is now and not as it was when the calling statement
-- began: a statement that had to wait for another delivery must see that delivery.

CREATE OR REPLACE FUNCTION engine.is_live(p_row_id bigint, p_attempts integer, p_worker_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM public.procrastinate_jobs j
                   WHERE j.id = p_row_id AND j.status = 'doing' AND j.attempts = p_attempts
                     AND j.worker_id IS NOT DISTINCT FROM p_worker_id)
$$;
COMMENT ON FUNCTION engine.is_live(bigint, integer, bigint) IS
    'A delivery is its queue row, the row''s attempts and its worker; it is live while that row is `doing` under both.';

-- Take slots, set-based: the advisory lock makes takers of one key queue up for the length of this statement's
-- transaction, so two can never both find the last slot free.
CREATE OR REPLACE FUNCTION engine.take_slots(
    p_key text, p_most integer, p_wanted integer, p_row_id bigint, p_attempts integer, p_worker_id bigint
) RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    taken integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('engine.slots/' || p_key, 0));
    DELETE FROM engine.slots s
     WHERE s.key = p_key
       AND (s.row_id = p_row_id OR NOT engine.is_live(s.row_id, s.attempts, s.worker_id));
    INSERT INTO engine.slots (key, n, row_id, attempts, worker_id)
    SELECT p_key, free.n, p_row_id, p_attempts, p_worker_id
      FROM generate_series(1, p_most) AS free (n)
     WHERE NOT EXISTS (SELECT FROM engine.slots s WHERE s.key = p_key AND s.n = free.n)
     ORDER BY free.n
     LIMIT greatest(0, least(p_wanted, p_most - (SELECT count(*)::integer FROM engine.slots s WHERE s.key = p_key)));
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $$;
COMMENT ON FUNCTION engine.take_slots(text, integer, integer, bigint, integer, bigint) IS
    'Takes up to p_wanted of the p_most slots of a key for a delivery and says how many it got.';

-- Wake the row that has been parked for longest, if the key has a free slot. Under the same lock as taking slots, so
-- that a row cannot be parked behind the back of the delivery that was about to wake it.
CREATE OR REPLACE FUNCTION engine.wake_parked(p_key text, p_most integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
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
        IF oldest IS NULL THEN
            RETURN NULL;
        END IF;
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
END $$;
COMMENT ON FUNCTION engine.wake_parked(text, integer) IS
    'Makes the longest parked row of a key due, if fewer than p_most of its slots are held by live deliveries.';

-- Policies ---------------------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['event_log', 'failed_jobs', 'calls', 'slots', 'parked', 'rescues'] LOOP
        EXECUTE format('ALTER TABLE engine.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE engine.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON engine.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON engine.%I TO service_role', table_name);
    END LOOP;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA engine FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA engine TO service_role;
