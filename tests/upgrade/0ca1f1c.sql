SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA auth;
CREATE SCHEMA engine;
CREATE SCHEMA logistics;
CREATE SCHEMA tenancy;
CREATE TYPE public.procrastinate_job_event_type AS ENUM (
    'deferred',
    'started',
    'deferred_for_retry',
    'failed',
    'succeeded',
    'cancelled',
    'abort_requested',
    'aborted',
    'scheduled',
    'retried'
);
CREATE TYPE public.procrastinate_job_status AS ENUM (
    'todo',
    'doing',
    'succeeded',
    'failed',
    'cancelled',
    'aborting',
    'aborted'
);
CREATE TYPE public.procrastinate_job_to_defer_v1 AS (
	queue_name character varying,
	task_name character varying,
	priority integer,
	lock text,
	queueing_lock text,
	args jsonb,
	scheduled_at timestamp with time zone
);
CREATE FUNCTION auth.uid() RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
            SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
        $$;
COMMENT ON FUNCTION auth.uid() IS 'The person this transaction speaks for: the subject of the request''s claims, or null.';
CREATE FUNCTION engine.call_next(p_type text, p_subject uuid, p_queue text, p_priority integer, p_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
    called integer;
BEGIN
    WITH front AS (
        SELECT s.event_id, s.position, s.held, s.attempt, first_value(s.attempt) OVER (ORDER BY s.position) AS first_attempt
          FROM (SELECT * FROM engine.sequence line
                 WHERE line.subject_id = p_subject AND line.type = p_type
                 ORDER BY line.position LIMIT p_most) s
    ), ready AS (
        SELECT f.event_id, f.position, f.held, f.attempt
          FROM (SELECT *, bool_and(held IS NOT NULL AND attempt = first_attempt) OVER (ORDER BY position) AS is_ready
                  FROM front) f
         WHERE f.is_ready
    ), freed AS (
        UPDATE engine.sequence s SET held = NULL, attempt = NULL, held_at = NULL
          FROM ready WHERE s.event_id = ready.event_id
        RETURNING s.event_id
    ), deferred AS (
        SELECT public.procrastinate_defer_jobs_v1(ARRAY[row(
                   p_queue, 'consume_parcel', p_priority, NULL, NULL,
                   jsonb_build_object('attempt', min(r.attempt), 'events', jsonb_agg(r.held ORDER BY r.position)), NULL
               )::public.procrastinate_job_to_defer_v1])
          FROM ready r HAVING count(*) > 0
    )
    SELECT count(*) INTO called FROM freed, deferred;
    RETURN called;
END $$;
COMMENT ON FUNCTION engine.call_next(p_type text, p_subject uuid, p_queue text, p_priority integer, p_most integer) IS 'Puts the held events at the front of a line into the queue, as one parcel, up to the first that is not held.';
CREATE FUNCTION engine.claim(p_row_id bigint, p_attempts integer, p_worker_id bigint, p_limit integer) RETURNS TABLE(row_id bigint, args text)
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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
COMMENT ON FUNCTION engine.claim(p_row_id bigint, p_attempts integer, p_worker_id bigint, p_limit integer) IS 'Takes a delivery''s own row and its waiting siblings out of the queue, in the caller''s transaction. No row: the delivery is no longer the caller''s.';
CREATE FUNCTION engine.is_live(p_row_id bigint, p_attempts integer, p_worker_id bigint) RETURNS boolean
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    SELECT EXISTS (SELECT FROM public.procrastinate_jobs j
                   WHERE j.id = p_row_id AND j.status = 'doing' AND j.attempts = p_attempts
                     AND j.worker_id IS NOT DISTINCT FROM p_worker_id)
$$;
COMMENT ON FUNCTION engine.is_live(p_row_id bigint, p_attempts integer, p_worker_id bigint) IS 'A delivery is its queue row, the row''s attempts and its worker; it is live while that row is `doing` under both.';
CREATE FUNCTION engine.lock_lines(p_types text[], p_subjects uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    key integer;
BEGIN
    FOR key IN
        SELECT DISTINCT (hashtextextended(line.type || '/' || line.subject, 0) & 1023)::integer AS k
          FROM unnest(p_types, p_subjects) AS line (type, subject)
         ORDER BY k
    LOOP
        PERFORM pg_advisory_xact_lock(hashtext('engine.sequence'), key);
    END LOOP;
END $$;
COMMENT ON FUNCTION engine.lock_lines(p_types text[], p_subjects uuid[]) IS 'Waits until nobody else decides about these lines, and keeps others from it until the transaction ends.';
CREATE FUNCTION engine.notify_progress() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    ids jsonb;
BEGIN
    SELECT jsonb_agg(c.id) INTO ids FROM (SELECT id FROM changed LIMIT 101) c;
    IF ids IS NULL THEN
        RETURN NULL;
    END IF;
    -- A notification holds 8,000 bytes. Past a hundred ids it says "many": look for yourself.
    IF jsonb_array_length(ids) > 100 THEN
        ids := NULL;
    END IF;
    PERFORM pg_notify('tallyman_progress',
        jsonb_build_object('table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'ids', ids)::text);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION engine.notify_progress() IS 'A statement trigger with the transition table `changed`: tells the channel tallyman_progress which rows changed.';
CREATE FUNCTION engine.release(p_events uuid[], p_queue text, p_priority integer, p_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
    line record;
    called integer := 0;
BEGIN
    PERFORM engine.lock_lines(array_agg(s.type), array_agg(s.subject_id))
       FROM engine.sequence s WHERE s.event_id = ANY(p_events);
    FOR line IN
        WITH gone AS (
            DELETE FROM engine.sequence s WHERE s.event_id = ANY(p_events) RETURNING s.type, s.subject_id
        )
        SELECT DISTINCT gone.type, gone.subject_id FROM gone ORDER BY gone.type, gone.subject_id
    LOOP
        called := called + engine.call_next(line.type, line.subject_id, p_queue, p_priority, p_most);
    END LOOP;
    RETURN called;
END $$;
COMMENT ON FUNCTION engine.release(p_events uuid[], p_queue text, p_priority integer, p_most integer) IS 'Takes events that are over out of their lines and calls those that now come first; how many were called.';
CREATE FUNCTION engine.take_slots(p_key text, p_most integer, p_wanted integer, p_row_id bigint, p_attempts integer, p_worker_id bigint) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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
COMMENT ON FUNCTION engine.take_slots(p_key text, p_most integer, p_wanted integer, p_row_id bigint, p_attempts integer, p_worker_id bigint) IS 'Takes up to p_wanted of the p_most slots of a key for a delivery and says how many it got.';
CREATE FUNCTION engine.take_turns(p_events jsonb) RETURNS TABLE(event_id uuid, place bigint, has_turn boolean)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
BEGIN
    PERFORM engine.lock_lines(array_agg(e.type), array_agg(e.subject))
       FROM jsonb_to_recordset(p_events) AS e (type text, subject uuid);
    -- Whoever was put into the queue by other hands than `publish()` joins its line at its first delivery.
    INSERT INTO engine.sequence (type, subject_id, event_id)
    SELECT e.type, e.subject, e.id
      FROM ROWS FROM (jsonb_to_recordset(p_events) AS (id uuid, type text, subject uuid))
           WITH ORDINALITY AS e (id, type, subject, n)
     WHERE NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = e.id)
       AND NOT EXISTS (SELECT FROM engine.sequence s WHERE s.event_id = e.id)
     ORDER BY e.n
    ON CONFLICT DO NOTHING;
    RETURN QUERY
    WITH here AS MATERIALIZED (
        SELECT s.position, s.type, s.subject_id, s.event_id
          FROM engine.sequence s
         WHERE s.event_id IN (SELECT e.id FROM jsonb_to_recordset(p_events) AS e (id uuid))
    ), lines AS MATERIALIZED (
        SELECT line.type, line.subject_id, (
                   SELECT s.position FROM engine.sequence s
                    WHERE s.subject_id = line.subject_id AND s.type = line.type
                      AND s.position NOT IN (SELECT h.position FROM here h)
                      AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = s.event_id)
                    ORDER BY s.position LIMIT 1) AS stop
          FROM (SELECT DISTINCT h.type, h.subject_id FROM here h) line
    )
    SELECT h.event_id, h.position,
           lines.stop IS NULL OR h.position < lines.stop
           OR EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = h.event_id)
      FROM here h JOIN lines ON lines.type = h.type AND lines.subject_id = h.subject_id;
END $$;
COMMENT ON FUNCTION engine.take_turns(p_events jsonb) IS 'Locks the lines of sequenced events, and says of each where it stands and whether it may be applied now.';
CREATE FUNCTION engine.wake_parked(p_key text, p_most integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
COMMENT ON FUNCTION engine.wake_parked(p_key text, p_most integer) IS 'Makes the longest parked row of a key due, if fewer than p_most of its slots are held by live deliveries.';
CREATE FUNCTION logistics.check_items_are_of_one_workspace() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    stranger record;
BEGIN
    SELECT a.job_id, a.order_id INTO stranger FROM added a
     WHERE NOT EXISTS (SELECT FROM logistics.robot_jobs j JOIN logistics.orders o USING (workspace_id)
                        WHERE j.id = a.job_id AND o.id = a.order_id)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order % is not of the workspace of job %', stranger.order_id, stranger.job_id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION logistics.check_items_are_of_one_workspace() IS 'No item ties an order to a job of another workspace.';
CREATE FUNCTION logistics.place_key(p_name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $_$
    -- Case, accents, punctuation and a trailing "D.C." do not tell two places apart.
    -- Lower case comes last: where the database's locale is C it knows no accented letters.
    SELECT regexp_replace(btrim(regexp_replace(
               lower(regexp_replace(normalize(p_name, NFKD), '[\u0300-\u036f]', '', 'g')),
               '[^[:alnum:]]+', ' ', 'g')), ' d ?c$', '')
$_$;
COMMENT ON FUNCTION logistics.place_key(p_name text) IS 'The name of a city or department as it is compared: "Bogotá, D.C." and "BOGOTA" are one.';
CREATE FUNCTION logistics.refuse_to_move() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    RAISE EXCEPTION 'the job and the order of an item never change' USING ERRCODE = 'restrict_violation';
END $$;
COMMENT ON FUNCTION logistics.refuse_to_move() IS 'A row trigger that lets nothing through.';
CREATE FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status = 'todo'
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        IF abort THEN
            UPDATE procrastinate_jobs
            SET abort_requested = true,
                status = CASE status
                    WHEN 'todo' THEN 'cancelled'::procrastinate_job_status ELSE status
                END
            WHERE id = job_id AND status IN ('todo', 'doing')
            RETURNING id INTO _job_id;
        ELSE
            UPDATE procrastinate_jobs
            SET status = 'cancelled'::procrastinate_job_status
            WHERE id = job_id AND status = 'todo'
            RETURNING id INTO _job_id;
        END IF;
    END IF;
    RETURN _job_id;
END;
$$;
CREATE FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
DECLARE
    job_ids bigint[];
BEGIN
    WITH inserted_jobs AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        SELECT (job).queue_name,
               (job).task_name,
               (job).priority,
               (job).lock,
               (job).queueing_lock,
               (job).args,
               (job).scheduled_at
        FROM unnest(jobs) AS job
        RETURNING id
    )
    SELECT array_agg(id) FROM inserted_jobs INTO job_ids;
    RETURN job_ids;
END;
$$;
CREATE FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
	_job_id bigint;
	_defer_id bigint;
BEGIN
    INSERT
        INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)
        VALUES (_task_name, _periodic_id, _defer_timestamp)
        ON CONFLICT DO NOTHING
        RETURNING id into _defer_id;
    IF _defer_id IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE procrastinate_periodic_defers
        SET job_id = (
            SELECT COALESCE((
                SELECT unnest(procrastinate_defer_jobs_v1(
                    ARRAY[
                        ROW(
                            _queue_name,
                            _task_name,
                            _priority,
                            _lock,
                            _queueing_lock,
                            _args,
                            NULL::timestamptz
                        )
                    ]::procrastinate_job_to_defer_v1[]
                ))
            ), NULL)
        )
        WHERE id = _defer_id
        RETURNING job_id INTO _job_id;
    DELETE
        FROM procrastinate_periodic_defers
        USING (
            SELECT id
            FROM procrastinate_periodic_defers
            WHERE procrastinate_periodic_defers.task_name = _task_name
            AND procrastinate_periodic_defers.periodic_id = _periodic_id
            AND procrastinate_periodic_defers.defer_timestamp < _defer_timestamp
            ORDER BY id
            FOR UPDATE
        ) to_delete
        WHERE procrastinate_periodic_defers.id = to_delete.id;
    RETURN _job_id;
END;
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.procrastinate_jobs (
    id bigint NOT NULL,
    queue_name character varying(128) NOT NULL,
    task_name character varying(128) NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    lock text,
    queueing_lock text,
    args jsonb DEFAULT '{}'::jsonb NOT NULL,
    status public.procrastinate_job_status DEFAULT 'todo'::public.procrastinate_job_status NOT NULL,
    scheduled_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    abort_requested boolean DEFAULT false NOT NULL,
    worker_id bigint,
    CONSTRAINT check_not_todo_abort_requested CHECK ((NOT ((status = 'todo'::public.procrastinate_job_status) AND (abort_requested = true))))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='5000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='1000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY public.procrastinate_jobs FORCE ROW LEVEL SECURITY;
CREATE FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) RETURNS public.procrastinate_jobs
    LANGUAGE plpgsql
    AS $$
DECLARE
	found_jobs procrastinate_jobs;
BEGIN
    WITH candidate AS (
        SELECT jobs.*
            FROM procrastinate_jobs AS jobs
            WHERE
                -- reject the job if its lock has earlier or higher priority jobs
                NOT EXISTS (
                    SELECT 1
                        FROM procrastinate_jobs AS other_jobs
                        WHERE
                            jobs.lock IS NOT NULL
                            AND other_jobs.lock = jobs.lock
                            AND (
                                -- job with same lock is already running
                                other_jobs.status = 'doing'
                                OR
                                -- job with same lock is waiting and has higher priority (or same priority but was queued first)
                                (
                                    other_jobs.status = 'todo'
                                    AND (
                                        other_jobs.priority > jobs.priority
                                        OR (
                                        other_jobs.priority = jobs.priority
                                        AND other_jobs.id < jobs.id
                                        )
                                    )
                                )
                            )
                )
                AND jobs.status = 'todo'
                AND (target_queue_names IS NULL OR jobs.queue_name = ANY( target_queue_names ))
                AND (jobs.scheduled_at IS NULL OR jobs.scheduled_at <= now())
            ORDER BY jobs.priority DESC, jobs.id ASC LIMIT 1
            FOR UPDATE OF jobs SKIP LOCKED
    )
    UPDATE procrastinate_jobs
        SET status = 'doing', worker_id = p_worker_id
        FROM candidate
        WHERE procrastinate_jobs.id = candidate.id
        RETURNING procrastinate_jobs.* INTO found_jobs;
 RETURN found_jobs;
END;
$$;
CREATE FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF end_status NOT IN ('succeeded', 'failed', 'aborted') THEN
        RAISE 'End status should be either "succeeded", "failed" or "aborted" (job id: %)', job_id;
    END IF;
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = end_status,
            abort_requested = false,
            attempts = CASE status
                WHEN 'doing' THEN attempts + 1 ELSE attempts
            END
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" or "todo" status (job id: %)', job_id;
    END IF;
END;
$$;
CREATE FUNCTION public.procrastinate_notify_queue_abort_job_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'abort_job_requested', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;
CREATE FUNCTION public.procrastinate_notify_queue_job_inserted_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'job_inserted', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;
CREATE FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN QUERY
    DELETE FROM procrastinate_workers
    WHERE last_heartbeat < NOW() - (seconds_since_heartbeat || 'SECOND')::INTERVAL
    RETURNING procrastinate_workers.id;
END;
$$;
CREATE FUNCTION public.procrastinate_register_worker_v1() RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN QUERY
    INSERT INTO procrastinate_workers DEFAULT VALUES
    RETURNING procrastinate_workers.id;
END;
$$;
CREATE FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
BEGIN
    SELECT abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status = 'doing'
    FOR UPDATE
    INTO _abort_requested;
    IF _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" status (job id: %)', job_id;
    END IF;
END;
$$;
CREATE FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
    _current_status procrastinate_job_status;
BEGIN
    SELECT status, abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status IN ('doing', 'failed')
    FOR UPDATE
    INTO _current_status, _abort_requested;
    IF _current_status = 'doing' AND _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status IN ('doing', 'failed')
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        RAISE 'Job was not found or has an invalid status to retry (job id: %)', job_id;
    END IF;
END;
$$;
CREATE FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'abort_requested'::procrastinate_job_event_type);
    RETURN NEW;
END;
$$;
CREATE FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type, at)
        VALUES (NEW.id, 'scheduled'::procrastinate_job_event_type, NEW.scheduled_at);
	RETURN NEW;
END;
$$;
CREATE FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'deferred'::procrastinate_job_event_type);
	RETURN NEW;
END;
$$;
CREATE FUNCTION public.procrastinate_trigger_function_status_events_update_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    WITH t AS (
        SELECT CASE
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND NEW.status = 'doing'::procrastinate_job_status
                THEN 'started'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'deferred_for_retry'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'failed'::procrastinate_job_status
                THEN 'failed'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'succeeded'::procrastinate_job_status
                THEN 'succeeded'::procrastinate_job_event_type
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND (
                    NEW.status = 'cancelled'::procrastinate_job_status
                    OR NEW.status = 'failed'::procrastinate_job_status
                    OR NEW.status = 'succeeded'::procrastinate_job_status
                )
                THEN 'cancelled'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'aborted'::procrastinate_job_status
                THEN 'aborted'::procrastinate_job_event_type
            WHEN OLD.status = 'failed'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'retried'::procrastinate_job_event_type
            ELSE NULL
        END as event_type
    )
    INSERT INTO procrastinate_events(job_id, type)
        SELECT NEW.id, t.event_type
        FROM t
        WHERE t.event_type IS NOT NULL;
	RETURN NEW;
END;
$$;
CREATE FUNCTION public.procrastinate_unlink_periodic_defers_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE procrastinate_periodic_defers
    SET job_id = NULL
    WHERE job_id = OLD.id;
    RETURN OLD;
END;
$$;
CREATE FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM procrastinate_workers
    WHERE id = worker_id;
END;
$$;
CREATE FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE procrastinate_workers
    SET last_heartbeat = NOW()
    WHERE id = worker_id;
END;
$$;
CREATE FUNCTION public.update_updated_at_column() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION public.update_updated_at_column() IS 'Keeps updated_at: a BEFORE UPDATE row trigger of every table that has the column.';
CREATE FUNCTION tenancy.is_org_admin(p_org_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT EXISTS (SELECT FROM tenancy.org_members m
                   WHERE m.org_id = p_org_id AND m.user_id = auth.uid() AND m.role = 'admin')
$$;
COMMENT ON FUNCTION tenancy.is_org_admin(p_org_id uuid) IS 'Is the person of this request an admin of the organisation?';
CREATE FUNCTION tenancy.is_org_member(p_org_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT EXISTS (SELECT FROM tenancy.org_members m
                   WHERE m.org_id = p_org_id AND m.user_id = auth.uid())
$$;
COMMENT ON FUNCTION tenancy.is_org_member(p_org_id uuid) IS 'Does the person of this request belong to the organisation?';
CREATE FUNCTION tenancy.is_workspace_admin(p_workspace_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT EXISTS (SELECT FROM tenancy.workspace_members m
                   WHERE m.workspace_id = p_workspace_id AND m.user_id = auth.uid() AND m.role = 'admin')
$$;
COMMENT ON FUNCTION tenancy.is_workspace_admin(p_workspace_id uuid) IS 'Is the person of this request an admin of the workspace?';
CREATE FUNCTION tenancy.is_workspace_member(p_workspace_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT EXISTS (SELECT FROM tenancy.workspace_members m
                   WHERE m.workspace_id = p_workspace_id AND m.user_id = auth.uid())
$$;
COMMENT ON FUNCTION tenancy.is_workspace_member(p_workspace_id uuid) IS 'Does the person of this request belong to the workspace?';
CREATE TABLE auth.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY auth.users FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE auth.users IS 'People. Stands in for Supabase''s table of the same name.';
CREATE TABLE engine.actions (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text,
    reason text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT actions_actor_check CHECK ((actor <> ''::text))
);
ALTER TABLE ONLY engine.actions FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.actions IS 'Who did what, when and why: every action of an admin. Rows are only ever added.';
COMMENT ON COLUMN engine.actions.subject IS 'What it was done to: a dead letter''s or a plan''s id, a queue''s name.';
ALTER TABLE engine.actions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME engine.actions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE engine.calls (
    event_id uuid NOT NULL,
    row_id bigint NOT NULL,
    attempts integer NOT NULL,
    worker_id bigint,
    tries integer DEFAULT 1 NOT NULL,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    ask_after timestamp with time zone
);
ALTER TABLE ONLY engine.calls FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.calls IS 'Effects whose outside call was begun and whose outcome is not recorded yet. Whoever finds a row here that is not its own must ask the other side before calling again.';
COMMENT ON COLUMN engine.calls.row_id IS 'With attempts and worker_id, the delivery that holds it: live while that queue row is `doing`.';
COMMENT ON COLUMN engine.calls.begun_at IS 'When the delivery began it, or last got on with its parcel.';
COMMENT ON COLUMN engine.calls.ask_after IS 'Until then the other side may still be making up its mind about a call that ended half way: it is not asked yet.';
CREATE TABLE engine.event_log (
    event_id uuid NOT NULL,
    type text NOT NULL,
    version integer NOT NULL,
    tenant_id uuid,
    subject_id uuid,
    causation_id uuid,
    data jsonb NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY engine.event_log FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.event_log IS 'The ledger of applied events. Its primary key is what makes an event count once; its rows are a job''s timeline.';
COMMENT ON COLUMN engine.event_log.subject_id IS 'The job or order that the event is about.';
COMMENT ON COLUMN engine.event_log.causation_id IS 'The event that this one followed from.';
COMMENT ON COLUMN engine.event_log.occurred_at IS 'When the producer said it.';
COMMENT ON COLUMN engine.event_log.applied_at IS 'When the transaction that applied it began.';
CREATE TABLE engine.failed_jobs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    job_type text NOT NULL,
    event_data jsonb NOT NULL,
    error_message text NOT NULL,
    error_stack text,
    retry_count integer NOT NULL,
    failed_at timestamp with time zone DEFAULT now(),
    resolved_at timestamp with time zone,
    notes text,
    event_id uuid,
    tenant_id uuid,
    error_class text,
    fingerprint text,
    replay_count integer DEFAULT 0 NOT NULL,
    replayed_at timestamp with time zone,
    history jsonb DEFAULT '[]'::jsonb NOT NULL,
    replaced_by uuid
);
ALTER TABLE ONLY engine.failed_jobs FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.failed_jobs IS 'Dead letters: events that will not be tried again until an admin says so.';
COMMENT ON COLUMN engine.failed_jobs.job_type IS 'The event''s type, or the queue task''s name when the row held no event.';
COMMENT ON COLUMN engine.failed_jobs.event_data IS 'The whole event, as it was published.';
COMMENT ON COLUMN engine.failed_jobs.retry_count IS 'Deliveries that failed before it was buried.';
COMMENT ON COLUMN engine.failed_jobs.resolved_at IS 'Set when it was replayed with success, or by hand.';
COMMENT ON COLUMN engine.failed_jobs.fingerprint IS 'The same for the same failure: type, error class and message without ids and numbers.';
COMMENT ON COLUMN engine.failed_jobs.replay_count IS 'How often it was replayed.';
COMMENT ON COLUMN engine.failed_jobs.history IS 'The deaths before the one that the row tells of, oldest first: at, error_class, error_message, retry_count.';
COMMENT ON COLUMN engine.failed_jobs.replaced_by IS 'The event that took this one''s place: an edited copy, or the next attempt of a revived effect.';
CREATE TABLE engine.parked (
    row_id bigint NOT NULL,
    key text NOT NULL,
    most integer DEFAULT 1 NOT NULL,
    parked_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT parked_most_check CHECK ((most > 0))
);
ALTER TABLE ONLY engine.parked FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.parked IS 'Queue rows that found every slot of a key taken. They are scheduled for later, and woken as soon as a slot is free.';
COMMENT ON COLUMN engine.parked.most IS 'How many slots the key has.';
CREATE TABLE engine.paused_queues (
    queue_name text NOT NULL,
    paused_at timestamp with time zone DEFAULT now() NOT NULL,
    paused_by text NOT NULL,
    reason text NOT NULL,
    CONSTRAINT paused_queues_paused_by_check CHECK ((paused_by <> ''::text)),
    CONSTRAINT paused_queues_reason_check CHECK ((reason <> ''::text))
);
ALTER TABLE ONLY engine.paused_queues FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.paused_queues IS 'Queues from which no worker takes a delivery until somebody resumes them. What is in hand is finished.';
CREATE TABLE engine.replay_plan_letters (
    plan_id uuid NOT NULL,
    letter_id uuid NOT NULL,
    "position" integer NOT NULL,
    event_id uuid,
    failed_at timestamp with time zone NOT NULL,
    class text NOT NULL,
    detail text,
    replayed_at timestamp with time zone,
    awaited_id uuid,
    outcome text,
    CONSTRAINT replay_plan_letters_class_check CHECK ((class = ANY (ARRAY['already_applied'::text, 'valid'::text, 'valid_after_upcast'::text, 'invalid'::text, 'in_doubt'::text, 'blocked'::text]))),
    CONSTRAINT replay_plan_letters_outcome_check CHECK ((outcome = ANY (ARRAY['applied'::text, 'dead'::text, 'skipped'::text])))
);
ALTER TABLE ONLY engine.replay_plan_letters FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.replay_plan_letters IS 'One dead letter of a plan.';
COMMENT ON COLUMN engine.replay_plan_letters.failed_at IS 'When the letter had died as the plan was made; another one now makes the plan stale.';
COMMENT ON COLUMN engine.replay_plan_letters.class IS 'What a replay would come to.';
COMMENT ON COLUMN engine.replay_plan_letters.awaited_id IS 'The event whose end is the outcome: the letter''s own, or the next attempt of a revived effect.';
CREATE TABLE engine.replay_plans (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by text NOT NULL,
    filters jsonb DEFAULT '{}'::jsonb NOT NULL,
    items_to_change integer DEFAULT 0 NOT NULL,
    counters_to_change integer DEFAULT 0 NOT NULL,
    finished_at timestamp with time zone
);
ALTER TABLE ONLY engine.replay_plans FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.replay_plans IS 'Frozen sets of dead letters, with what a replay would change.';
COMMENT ON COLUMN engine.replay_plans.filters IS 'How the letters were chosen.';
COMMENT ON COLUMN engine.replay_plans.items_to_change IS 'Items of jobs that a replay would change.';
COMMENT ON COLUMN engine.replay_plans.counters_to_change IS 'Jobs whose counters a replay would change.';
CREATE TABLE engine.rescues (
    id bigint NOT NULL,
    row_id bigint NOT NULL,
    queue_name text NOT NULL,
    worker_id bigint,
    attempts integer NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT rescues_reason_check CHECK ((reason = ANY (ARRAY['worker_gone'::text, 'too_long'::text])))
);
ALTER TABLE ONLY engine.rescues FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.rescues IS 'Deliveries that were taken from workers that died or hung. For a while after one, a queue''s events are delivered one by one, so that an event that kills its worker is found out alone.';
ALTER TABLE engine.rescues ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME engine.rescues_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE engine.schema_migrations (
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY engine.schema_migrations FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.schema_migrations IS 'Which migration files were applied, with the hash of their content.';
CREATE TABLE engine.sequence (
    event_id uuid NOT NULL,
    type text NOT NULL,
    subject_id uuid NOT NULL,
    "position" bigint NOT NULL,
    held jsonb,
    attempt integer,
    held_at timestamp with time zone,
    CONSTRAINT sequence_check CHECK ((((held IS NULL) = (attempt IS NULL)) AND ((held IS NULL) = (held_at IS NULL))))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='5000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='1000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY engine.sequence FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.sequence IS 'Lines of sequenced events that are neither applied nor given up. Only the first of a line may be applied.';
COMMENT ON COLUMN engine.sequence."position" IS 'The order of publication.';
COMMENT ON COLUMN engine.sequence.held IS 'The whole event, when it was delivered before its turn: then it waits here and not in the queue.';
COMMENT ON COLUMN engine.sequence.attempt IS 'How many deliveries a held event has behind it.';
ALTER TABLE engine.sequence ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME engine.sequence_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE engine.slots (
    key text NOT NULL,
    n integer NOT NULL,
    row_id bigint NOT NULL,
    attempts integer NOT NULL,
    worker_id bigint,
    taken_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT slots_n_check CHECK ((n > 0))
);
ALTER TABLE ONLY engine.slots FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.slots IS 'How many things of one kind run at once over all workers: slot n of a key is free when no live delivery holds it.';
COMMENT ON COLUMN engine.slots.key IS 'What is bounded, e.g. an account of a carrier''s portal.';
CREATE TABLE engine.workers (
    worker_id bigint NOT NULL,
    name text,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[],
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY engine.workers FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE engine.workers IS 'Who the workers of procrastinate_workers are: written by each when it starts, dropped when it is gone.';
COMMENT ON COLUMN engine.workers.worker_id IS 'The id in procrastinate_workers, where the heartbeat is.';
COMMENT ON COLUMN engine.workers.queues IS 'The queues that it serves; null: all of them.';
COMMENT ON COLUMN engine.workers.version IS 'The version of the program that it runs.';
CREATE TABLE logistics.carrier_configs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    workspace_id uuid NOT NULL,
    carrier text DEFAULT 'coordinadora'::text NOT NULL,
    portal_username text,
    portal_password text,
    is_enabled boolean DEFAULT false NOT NULL,
    portal_url text,
    max_sessions integer DEFAULT 4 NOT NULL,
    has_password boolean GENERATED ALWAYS AS ((portal_password IS NOT NULL)) STORED NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT carrier_configs_max_sessions_check CHECK (((max_sessions >= 1) AND (max_sessions <= 100))),
    CONSTRAINT carrier_configs_password_sealed CHECK ((portal_password ~~ 'sealed:%'::text))
);
ALTER TABLE ONLY logistics.carrier_configs FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE logistics.carrier_configs IS 'A workspace''s account with one carrier''s portal.';
COMMENT ON COLUMN logistics.carrier_configs.portal_password IS 'Sealed by the application (AES-GCM); never the plain password.';
COMMENT ON COLUMN logistics.carrier_configs.portal_url IS 'Where the portal answers. Set by operators alone: workers call it, so a tenant may not choose it.';
COMMENT ON COLUMN logistics.carrier_configs.max_sessions IS 'Portal calls at once for this account, over all workers.';
COMMENT ON COLUMN logistics.carrier_configs.has_password IS 'For those who may not read the password, sealed as it is.';
CREATE TABLE logistics.carrier_coverage (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    carrier text DEFAULT 'coordinadora'::text NOT NULL,
    city text NOT NULL,
    department text NOT NULL,
    carrier_city text NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    city_key text GENERATED ALWAYS AS (logistics.place_key(city)) STORED NOT NULL,
    department_key text GENERATED ALWAYS AS (logistics.place_key(department)) STORED NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT carrier_coverage_carrier_city_check CHECK ((carrier_city <> ''::text)),
    CONSTRAINT carrier_coverage_city_check CHECK ((city <> ''::text))
);
ALTER TABLE ONLY logistics.carrier_coverage FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE logistics.carrier_coverage IS 'The cities that a carrier serves; the same for every workspace.';
COMMENT ON COLUMN logistics.carrier_coverage.carrier_city IS 'The exact string that the carrier''s portal wants.';
CREATE TABLE logistics.orders (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    workspace_id uuid NOT NULL,
    reference text NOT NULL,
    recipient_name text NOT NULL,
    recipient_document text,
    recipient_phone text,
    recipient_email text,
    address text NOT NULL,
    city text NOT NULL,
    department text,
    units integer DEFAULT 1 NOT NULL,
    weight_kg numeric(10,3) DEFAULT 1 NOT NULL,
    declared_value_cents bigint DEFAULT 0 NOT NULL,
    collect_on_delivery_cents bigint DEFAULT 0 NOT NULL,
    tracking_number text,
    status text DEFAULT 'pending'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT orders_collect_on_delivery_cents_check CHECK ((collect_on_delivery_cents >= 0)),
    CONSTRAINT orders_declared_value_cents_check CHECK ((declared_value_cents >= 0)),
    CONSTRAINT orders_reference_check CHECK ((reference <> ''::text)),
    CONSTRAINT orders_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'shipped'::text, 'cancelled'::text]))),
    CONSTRAINT orders_units_check CHECK ((units > 0)),
    CONSTRAINT orders_weight_kg_check CHECK ((weight_kg > (0)::numeric))
)
WITH (fillfactor='80');
ALTER TABLE ONLY logistics.orders FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE logistics.orders IS 'Customer orders that are to be shipped. Changed through the orders module alone; each change publishes order/updated.';
COMMENT ON COLUMN logistics.orders.reference IS 'The shop''s own number for the order; unique in its workspace.';
COMMENT ON COLUMN logistics.orders.tracking_number IS 'The carrier''s number, once a robot has entered the order.';
CREATE TABLE logistics.robot_job_items (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    job_id uuid NOT NULL,
    order_id uuid NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    tracking_number text,
    validated_city text,
    value_sent jsonb,
    error_type text,
    error_message text,
    retry_count integer DEFAULT 0 NOT NULL,
    last_retry_at timestamp with time zone,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT robot_job_items_error_type_check CHECK ((error_type = ANY (ARRAY['validation'::text, 'portal'::text, 'timeout'::text, 'unknown'::text]))),
    CONSTRAINT robot_job_items_retry_count_check CHECK (((retry_count >= 0) AND (retry_count <= 10000))),
    CONSTRAINT robot_job_items_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'success'::text, 'error'::text])))
)
WITH (fillfactor='60');
ALTER TABLE ONLY logistics.robot_job_items FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE logistics.robot_job_items IS 'One order in one batch.';
COMMENT ON COLUMN logistics.robot_job_items.tracking_number IS 'The carrier''s number for the order; null until success.';
COMMENT ON COLUMN logistics.robot_job_items.validated_city IS 'The carrier''s exact city string that was used.';
COMMENT ON COLUMN logistics.robot_job_items.value_sent IS 'What was sent to the portal, for audit; no credentials.';
COMMENT ON COLUMN logistics.robot_job_items.retry_count IS 'The attempt: 0 at first, one more a retry. A result that carries an older one is late and changes nothing.';
CREATE TABLE logistics.robot_jobs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    workspace_id uuid NOT NULL,
    carrier text DEFAULT 'coordinadora'::text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    total_items integer DEFAULT 0 NOT NULL,
    success_count integer DEFAULT 0 NOT NULL,
    error_count integer DEFAULT 0 NOT NULL,
    idempotency_key text,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    generation integer DEFAULT 1 NOT NULL,
    request_fingerprint text,
    CONSTRAINT robot_jobs_counts CHECK (((success_count >= 0) AND (error_count >= 0) AND ((success_count + error_count) <= total_items))),
    CONSTRAINT robot_jobs_generation_check CHECK ((generation > 0)),
    CONSTRAINT robot_jobs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text])))
)
WITH (fillfactor='50');
ALTER TABLE ONLY logistics.robot_jobs FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE logistics.robot_jobs IS 'One batch of orders for one carrier. The counters equal the items at every commit.';
COMMENT ON COLUMN logistics.robot_jobs.generation IS 'Starts at 1; each retry of failed items begins the next. A job completes once a generation.';
COMMENT ON COLUMN logistics.robot_jobs.request_fingerprint IS 'SHA-256 of the carrier and the order ids: tells a repeated request from another one with the same key.';
CREATE TABLE public.procrastinate_events (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    type public.procrastinate_job_event_type,
    at timestamp with time zone DEFAULT now()
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='5000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='1000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY public.procrastinate_events FORCE ROW LEVEL SECURITY;
CREATE SEQUENCE public.procrastinate_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.procrastinate_events_id_seq OWNED BY public.procrastinate_events.id;
CREATE SEQUENCE public.procrastinate_jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.procrastinate_jobs_id_seq OWNED BY public.procrastinate_jobs.id;
CREATE TABLE public.procrastinate_periodic_defers (
    id bigint NOT NULL,
    task_name character varying(128) NOT NULL,
    defer_timestamp bigint,
    job_id bigint,
    periodic_id character varying(128) DEFAULT ''::character varying NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='5000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='1000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY public.procrastinate_periodic_defers FORCE ROW LEVEL SECURITY;
CREATE SEQUENCE public.procrastinate_periodic_defers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.procrastinate_periodic_defers_id_seq OWNED BY public.procrastinate_periodic_defers.id;
CREATE TABLE public.procrastinate_workers (
    id bigint NOT NULL,
    last_heartbeat timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='5000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='1000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY public.procrastinate_workers FORCE ROW LEVEL SECURITY;
ALTER TABLE public.procrastinate_workers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.procrastinate_workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE tenancy.org_members (
    org_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text DEFAULT 'member'::text NOT NULL,
    CONSTRAINT org_members_role_check CHECK ((role = ANY (ARRAY['member'::text, 'admin'::text])))
);
ALTER TABLE ONLY tenancy.org_members FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE tenancy.org_members IS 'Which person belongs to which organisation, and whether as its admin.';
CREATE TABLE tenancy.orgs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT orgs_name_check CHECK ((name <> ''::text))
);
ALTER TABLE ONLY tenancy.orgs FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE tenancy.orgs IS 'Organisations: who pays.';
CREATE TABLE tenancy.workspace_members (
    workspace_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text DEFAULT 'member'::text NOT NULL,
    CONSTRAINT workspace_members_role_check CHECK ((role = ANY (ARRAY['member'::text, 'admin'::text])))
);
ALTER TABLE ONLY tenancy.workspace_members FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE tenancy.workspace_members IS 'Which person belongs to which workspace, and whether as its admin.';
CREATE TABLE tenancy.workspaces (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    org_id uuid NOT NULL,
    name text NOT NULL,
    timezone text DEFAULT 'America/Bogota'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT workspaces_name_check CHECK ((name <> ''::text))
);
ALTER TABLE ONLY tenancy.workspaces FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE tenancy.workspaces IS 'Workspaces: where orders, carriers and robot jobs live; the tenant of logistics.';
COMMENT ON COLUMN tenancy.workspaces.timezone IS 'An IANA name. Times are stored as instants and shown in it.';
ALTER TABLE ONLY public.procrastinate_events ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_events_id_seq'::regclass);
ALTER TABLE ONLY public.procrastinate_jobs ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_jobs_id_seq'::regclass);
ALTER TABLE ONLY public.procrastinate_periodic_defers ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_periodic_defers_id_seq'::regclass);
INSERT INTO engine.actions OVERRIDING SYSTEM VALUE VALUES
	(1, '2026-11-28 07:51:07.441767+00', 'ana', 'note', '0b809e1c-19dc-4837-a929-4000026ef9a5', 'ask the other team', '{}'),
	(2, '2026-11-28 07:51:08.162311+00', 'ana', 'resolve', '49948840-43ce-4f98-a6e3-bff4db68d175', 'seen to', '{}'),
	(3, '2026-11-28 07:51:08.249658+00', 'ana', 'discard', '5d17b1bf-b6d4-44b9-8b1d-23c7b44f1f3c', 'mistaken', '{}'),
	(4, '2026-11-28 07:51:10.010365+00', 'ana', 'edit', 'cc80f297-04d8-4df8-be39-fb6bb0913704', 'by hand', '{"after": {"job_id": "01a22122-f079-7232-890a-47de239a7cda", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f07a-7833-ad83-93025e01afb9", "order_id": "01a22122-f076-740c-8dab-5fd3f7030a74"}, "before": {"job_id": "01a22122-f079-7232-890a-47de239a7cda", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f07a-7833-ad83-93025e01afb9", "order_id": "01a22122-f076-740c-8dab-5fd3f7030a74"}, "event_id": "01a22122-f9bc-7382-a556-7cab4811c74d"}'),
	(5, '2026-11-28 07:51:10.018781+00', 'ana', 'plan', '01a22122-f9c2-78a5-850b-3072da0c6dd9', NULL, '{"filters": {"resolved": false, "error_class": "MendedSince"}, "letters": 2}'),
	(6, '2026-11-28 07:51:10.077014+00', 'ana', 'plan', '01a22122-f9fd-78a7-b020-8b96c91dcd9d', NULL, '{"filters": {"resolved": false, "error_class": "KilledItsWorkers"}, "letters": 1}'),
	(7, '2026-11-28 07:51:10.10878+00', 'ana', 'pause', 'robots', 'upgrade', '{}');
INSERT INTO engine.calls VALUES
	('40c34105-4331-5b29-ad48-c100c32800f7', 12, 0, 7, 1, '2026-11-28 07:51:07.552996+00', NULL),
	('e5c9f2e5-8ce2-531b-a44c-4c30dfa8941f', 14, 0, 9, 1, '2026-11-28 07:51:07.757384+00', NULL),
	('70bb62b4-5f2a-56d8-9ae5-0e5377b24562', 28, 0, 20, 1, '2026-11-28 07:51:08.888783+00', '2026-11-28 07:51:08.885466+00'),
	('1be2df02-bf83-5a2f-a82a-713236a6d12b', 37, 0, 26, 1, '2026-11-28 07:51:09.437627+00', NULL),
	('6df6ef0e-94ca-5380-b2a1-310b03470399', 37, 0, 26, 1, '2026-11-28 07:51:09.437627+00', NULL),
	('d6bec320-e9b0-5847-8355-63b53fb1adb5', 37, 0, 26, 1, '2026-11-28 07:51:09.437627+00', NULL),
	('3975672a-24bd-5780-b48a-016b3dc6269d', 39, 0, 28, 1, '2026-11-28 07:51:09.603064+00', NULL),
	('4c9d8c77-443e-50b5-b5b4-f7a32af67191', 39, 0, 28, 1, '2026-11-28 07:51:09.603064+00', NULL),
	('9a8dbd4b-d6a0-562e-ae74-f6c0d5e0014b', 39, 0, 28, 1, '2026-11-28 07:51:09.603064+00', NULL),
	('03fe909f-f04e-5904-95e7-68a1ef3a3963', 41, 0, 30, 1, '2026-11-28 07:51:09.763757+00', NULL);
INSERT INTO engine.event_log VALUES
	('01a22122-edc8-7ba4-9c24-87486a9bea6c', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', NULL, '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "carrier": "coordinadora", "item_count": 3}', '2026-11-28 07:51:06.946274+00', '2026-11-28 07:51:07.006045+00'),
	('4aae7917-5353-5ed0-af3b-4083e64de499', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', '01a22122-edc8-7ba4-9c24-87486a9bea6c', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-edc5-7d5c-9ed0-c5c3137149cb", "order_id": "01a22122-edbf-7d1e-9c10-5081f651b047"}', '2026-11-28 07:51:07.016568+00', '2026-11-28 07:51:07.172262+00'),
	('7c2141c2-9462-5e91-9c10-9aec637bacc0', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', '01a22122-edc8-7ba4-9c24-87486a9bea6c', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-edc6-71ca-86cd-f33e5e34326c", "order_id": "01a22122-edc0-7978-8a69-32beb33a8030"}', '2026-11-28 07:51:07.016568+00', '2026-11-28 07:51:07.187768+00'),
	('ee3bb8ac-ef7f-51ef-b539-d35131e9d00b', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', '01a22122-edc8-7ba4-9c24-87486a9bea6c', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-edc7-7750-a379-35b323b843b1", "order_id": "01a22122-edc1-7181-b575-c835b15e3012"}', '2026-11-28 07:51:07.016568+00', '2026-11-28 07:51:07.187768+00'),
	('52cba230-1e2c-51de-a944-3df10ba3ede3', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', '4aae7917-5353-5ed0-af3b-4083e64de499', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "status": "success", "attempt": 0, "item_id": "01a22122-edc5-7d5c-9ed0-c5c3137149cb", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-edc5-7d5c-9ed0-c5c3137149cb-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300000", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000001"}', '2026-11-28 07:51:07.176449+00', '2026-11-28 07:51:07.231843+00'),
	('458a9f83-81e5-504e-969a-57305c9b61ca', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', '7c2141c2-9462-5e91-9c10-9aec637bacc0', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "status": "success", "attempt": 0, "item_id": "01a22122-edc6-71ca-86cd-f33e5e34326c", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-edc6-71ca-86cd-f33e5e34326c-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300001", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000002"}', '2026-11-28 07:51:07.189398+00', '2026-11-28 07:51:07.239797+00'),
	('5a529429-2911-59e2-94cf-31fa8c2e6e12', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', 'ee3bb8ac-ef7f-51ef-b539-d35131e9d00b', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "status": "success", "attempt": 0, "item_id": "01a22122-edc7-7750-a379-35b323b843b1", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-edc7-7750-a379-35b323b843b1-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300002", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000003"}', '2026-11-28 07:51:07.189398+00', '2026-11-28 07:51:07.239797+00'),
	('45fce540-48d3-5ffb-865c-23c307a5dbcc', 'robot/job.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc2-7f7e-8932-22c619daf65e', '5a529429-2911-59e2-94cf-31fa8c2e6e12', '{"job_id": "01a22122-edc2-7f7e-8932-22c619daf65e", "generation": 1, "error_count": 0, "success_count": 3}', '2026-11-28 07:51:07.246205+00', '2026-11-28 07:51:07.318108+00'),
	('bc959096-50da-5c74-bd7c-81b83f8f3ef4', 'order/updated', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc1-7181-b575-c835b15e3012', '5a529429-2911-59e2-94cf-31fa8c2e6e12', '{"after": {"status": "shipped", "tracking_number": "70000000003"}, "before": {"status": "pending", "tracking_number": null}, "order_id": "01a22122-edc1-7181-b575-c835b15e3012"}', '2026-11-28 07:51:07.246205+00', '2026-11-28 07:51:07.318108+00'),
	('d1ecd479-2f97-5504-8bfd-d1b75de1483d', 'order/updated', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edc0-7978-8a69-32beb33a8030', '458a9f83-81e5-504e-969a-57305c9b61ca', '{"after": {"status": "shipped", "tracking_number": "70000000002"}, "before": {"status": "pending", "tracking_number": null}, "order_id": "01a22122-edc0-7978-8a69-32beb33a8030"}', '2026-11-28 07:51:07.246205+00', '2026-11-28 07:51:07.318108+00'),
	('608e65f4-401a-5c2e-889e-8bf319af0fed', 'order/updated', 1, '00000000-0000-4000-8000-000000000021', '01a22122-edbf-7d1e-9c10-5081f651b047', '52cba230-1e2c-51de-a944-3df10ba3ede3', '{"after": {"status": "shipped", "tracking_number": "70000000001"}, "before": {"status": "pending", "tracking_number": null}, "order_id": "01a22122-edbf-7d1e-9c10-5081f651b047"}', '2026-11-28 07:51:07.244903+00', '2026-11-28 07:51:07.315614+00'),
	('01a22122-efc1-7617-a0db-0d176f635a09', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-efbf-731f-9514-64c8a685d9b1', NULL, '{"job_id": "01a22122-efbf-731f-9514-64c8a685d9b1", "carrier": "coordinadora", "item_count": 1}', '2026-11-28 07:51:07.454576+00', '2026-11-28 07:51:07.50857+00'),
	('01a22122-f07b-70b3-b752-9fe188ce0946', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f079-7232-890a-47de239a7cda', NULL, '{"job_id": "01a22122-f079-7232-890a-47de239a7cda", "carrier": "coordinadora", "item_count": 1}', '2026-11-28 07:51:07.640771+00', '2026-11-28 07:51:07.708964+00'),
	('01a22122-f12a-7cbe-858d-4c4be8602f07', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f127-74a0-93aa-168ab843c86f', NULL, '{"job_id": "01a22122-f127-74a0-93aa-168ab843c86f", "carrier": "coordinadora", "item_count": 2}', '2026-11-28 07:51:07.815007+00', '2026-11-28 07:51:07.878462+00'),
	('f3ffafd1-a97b-537b-a8f9-dde54927a1a3', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f127-74a0-93aa-168ab843c86f', '01a22122-f12a-7cbe-858d-4c4be8602f07', '{"job_id": "01a22122-f127-74a0-93aa-168ab843c86f", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f128-7b3d-9be1-242fcc9d564d", "order_id": "01a22122-f124-7f49-aa57-02193ec5ebaf"}', '2026-11-28 07:51:07.884613+00', '2026-11-28 07:51:07.981818+00'),
	('db24f56a-a2de-52bf-915f-fa1b6034222a', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f127-74a0-93aa-168ab843c86f', '01a22122-f12a-7cbe-858d-4c4be8602f07', '{"job_id": "01a22122-f127-74a0-93aa-168ab843c86f", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f129-763f-8a4c-18542486feed", "order_id": "01a22122-f125-7007-8e0b-f51f0207b6fe"}', '2026-11-28 07:51:07.884613+00', '2026-11-28 07:51:07.992598+00'),
	('01a22122-f2fe-782a-aebe-e80a4643c4c1', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', NULL, '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "carrier": "coordinadora", "item_count": 4}', '2026-11-28 07:51:08.279949+00', '2026-11-28 07:51:08.325472+00'),
	('2444741a-c3b8-5b98-9074-1299f894f902', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2fe-782a-aebe-e80a4643c4c1', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f2fa-7ef8-9919-1aea02d08fe6", "order_id": "01a22122-f2e2-7128-bb33-cc1334ff771b"}', '2026-11-28 07:51:08.337512+00', '2026-11-28 07:51:08.467571+00'),
	('339a2047-a975-5130-b8b9-c3f92839d0ca', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2fe-782a-aebe-e80a4643c4c1', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f2fc-7b2d-ab44-4d6609a23130", "order_id": "01a22122-f2ea-7769-ae71-91e029c5760f"}', '2026-11-28 07:51:08.337512+00', '2026-11-28 07:51:08.483926+00'),
	('b832154e-efb9-5f69-b784-5fbb228c7010', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2fe-782a-aebe-e80a4643c4c1', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f2fd-7457-9c65-b221e8ff5796", "order_id": "01a22122-f2f4-7b73-ad70-501c13a43570"}', '2026-11-28 07:51:08.337512+00', '2026-11-28 07:51:08.483926+00'),
	('bf188282-c601-5383-bf66-43015578ab56', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2fe-782a-aebe-e80a4643c4c1', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f2fb-7718-8c59-e259193fba24", "order_id": "01a22122-f2e3-7631-9ca0-2a0f3d374cf4"}', '2026-11-28 07:51:08.337512+00', '2026-11-28 07:51:08.483926+00'),
	('73e3644f-7a9b-5333-b1ed-a6ac39ec96aa', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', 'b832154e-efb9-5f69-b784-5fbb228c7010', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "status": "error", "attempt": 0, "item_id": "01a22122-f2fd-7457-9c65-b221e8ff5796", "error_type": "portal", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 8", "reference": "01a22122-f2fd-7457-9c65-b221e8ff5796-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300010", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "error_message": "the portal refuses this order", "validated_city": "BOGOTA (C/MARCA)"}', '2026-11-28 07:51:08.485944+00', '2026-11-28 07:51:08.547234+00'),
	('dc35afa7-9686-5542-bf84-fdcf68b4151e', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', 'bf188282-c601-5383-bf66-43015578ab56', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "status": "success", "attempt": 0, "item_id": "01a22122-f2fb-7718-8c59-e259193fba24", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f2fb-7718-8c59-e259193fba24-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300008", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000009"}', '2026-11-28 07:51:08.485944+00', '2026-11-28 07:51:08.547234+00'),
	('e190de62-2210-5bce-b724-16dc6a95c5a9', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '339a2047-a975-5130-b8b9-c3f92839d0ca', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "status": "error", "attempt": 0, "item_id": "01a22122-f2fc-7b2d-ab44-4d6609a23130", "error_type": "portal", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 9", "reference": "01a22122-f2fc-7b2d-ab44-4d6609a23130-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300009", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "error_message": "the portal refuses this order", "validated_city": "BOGOTA (C/MARCA)"}', '2026-11-28 07:51:08.485944+00', '2026-11-28 07:51:08.547234+00'),
	('6579f494-f31b-5ca9-9648-0066a2b9e7ca', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '2444741a-c3b8-5b98-9074-1299f894f902', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "status": "success", "attempt": 0, "item_id": "01a22122-f2fa-7ef8-9919-1aea02d08fe6", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f2fa-7ef8-9919-1aea02d08fe6-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300007", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000008"}', '2026-11-28 07:51:08.474359+00', '2026-11-28 07:51:08.539617+00'),
	('474cfb42-b43f-5414-8928-5bac3e4b2e25', 'order/updated', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2e3-7631-9ca0-2a0f3d374cf4', 'dc35afa7-9686-5542-bf84-fdcf68b4151e', '{"after": {"status": "shipped", "tracking_number": "70000000009"}, "before": {"status": "pending", "tracking_number": null}, "order_id": "01a22122-f2e3-7631-9ca0-2a0f3d374cf4"}', '2026-11-28 07:51:08.552744+00', '2026-11-28 07:51:08.6067+00'),
	('c6169531-c99c-512d-80b5-930dba791c59', 'robot/job.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '6579f494-f31b-5ca9-9648-0066a2b9e7ca', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "generation": 1, "error_count": 2, "success_count": 2}', '2026-11-28 07:51:08.559496+00', '2026-11-28 07:51:08.617233+00'),
	('d75e8542-11d8-55df-bfa2-c60cf30c4ec9', 'order/updated', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2e2-7128-bb33-cc1334ff771b', '6579f494-f31b-5ca9-9648-0066a2b9e7ca', '{"after": {"status": "shipped", "tracking_number": "70000000008"}, "before": {"status": "pending", "tracking_number": null}, "order_id": "01a22122-f2e2-7128-bb33-cc1334ff771b"}', '2026-11-28 07:51:08.559496+00', '2026-11-28 07:51:08.617233+00'),
	('01a22122-f468-7bc7-a78b-36dc2d56e88a', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', NULL, '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "carrier": "coordinadora", "item_count": 2, "attempt_items": ["01a22122-f2fc-7b2d-ab44-4d6609a23130", "01a22122-f2fd-7457-9c65-b221e8ff5796"]}', '2026-11-28 07:51:08.639156+00', '2026-11-28 07:51:08.712248+00'),
	('c34a0657-ca46-5f3c-b943-c23fdbeceb60', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f468-7bc7-a78b-36dc2d56e88a', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "attempt": 1, "carrier": "coordinadora", "item_id": "01a22122-f2fc-7b2d-ab44-4d6609a23130", "order_id": "01a22122-f2ea-7769-ae71-91e029c5760f"}', '2026-11-28 07:51:08.722254+00', '2026-11-28 07:51:08.877646+00'),
	('9a9c1961-d2dc-557e-bc22-47945ab78967', 'robot/item.completed', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2f8-7883-beb6-b6139aedec06', 'c34a0657-ca46-5f3c-b943-c23fdbeceb60', '{"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "status": "success", "attempt": 1, "item_id": "01a22122-f2fc-7b2d-ab44-4d6609a23130", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 9", "reference": "01a22122-f2fc-7b2d-ab44-4d6609a23130-1", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300009", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000010"}', '2026-11-28 07:51:08.881241+00', '2026-11-28 07:51:08.927028+00'),
	('66e89534-f6a9-5120-bc7b-c10e77447d16', 'order/updated', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f2ea-7769-ae71-91e029c5760f', '9a9c1961-d2dc-557e-bc22-47945ab78967', '{"after": {"status": "shipped", "tracking_number": "70000000010"}, "before": {"status": "pending", "tracking_number": null}, "order_id": "01a22122-f2ea-7769-ae71-91e029c5760f"}', '2026-11-28 07:51:08.934163+00', '2026-11-28 07:51:08.987723+00'),
	('01a22122-f5e4-7d12-8f55-9c8c37a6c547', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f5de-7e7a-956f-4b527c73eb3f', NULL, '{"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "carrier": "coordinadora", "item_count": 3}', '2026-11-28 07:51:09.022506+00', '2026-11-28 07:51:09.094658+00'),
	('43db26f7-e5c9-549e-94b2-87c3e1e3a1ab', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f5de-7e7a-956f-4b527c73eb3f', '01a22122-f5e4-7d12-8f55-9c8c37a6c547', '{"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f5e1-7db6-ac48-7c4c55c5b89c", "order_id": "01a22122-f5db-7b34-8e87-f364c752eff3"}', '2026-11-28 07:51:09.105443+00', '2026-11-28 07:51:09.266386+00'),
	('87dd9b92-f0ec-505a-9e07-d48d15ddae69', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f5de-7e7a-956f-4b527c73eb3f', '01a22122-f5e4-7d12-8f55-9c8c37a6c547', '{"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f5e3-73be-9505-07e94a561dc2", "order_id": "01a22122-f5dd-793d-8aa5-97296bffe86e"}', '2026-11-28 07:51:09.105443+00', '2026-11-28 07:51:09.287835+00'),
	('b784e3a2-8607-59ab-bfd4-1672c0bc18da', 'robot/item.requested', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f5de-7e7a-956f-4b527c73eb3f', '01a22122-f5e4-7d12-8f55-9c8c37a6c547', '{"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f5e2-7cb9-8dbe-832300d20f0e", "order_id": "01a22122-f5dc-7c30-a55c-3789793f6fee"}', '2026-11-28 07:51:09.105443+00', '2026-11-28 07:51:09.287835+00'),
	('01a22122-f717-774e-9a02-76e37d9c7ca7', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f710-73b7-9c22-50dddbe7ac1a', NULL, '{"job_id": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "carrier": "coordinadora", "item_count": 3}', '2026-11-28 07:51:09.328531+00', '2026-11-28 07:51:09.391816+00'),
	('01a22122-f7d0-7584-a853-52cc9b2cb295', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000021', '01a22122-f7cc-7247-93bf-95e919824a54', NULL, '{"job_id": "01a22122-f7cc-7247-93bf-95e919824a54", "carrier": "coordinadora", "item_count": 3}', '2026-11-28 07:51:09.516161+00', '2026-11-28 07:51:09.565532+00'),
	('01a22122-f867-7245-b155-d9da866cb26e', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000022', '01a22122-f865-713e-9738-866779cfb7c3', NULL, '{"job_id": "01a22122-f865-713e-9738-866779cfb7c3", "carrier": "coordinadora", "item_count": 1}', '2026-11-28 07:51:09.669572+00', '2026-11-28 07:51:09.722192+00'),
	('01a22122-f8e3-7459-a491-ef5b151dbe9b', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000022', '01a22122-f8de-7ad7-ba22-2e9b5fa36320', NULL, '{"job_id": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "carrier": "coordinadora", "item_count": 3}', '2026-11-28 07:51:09.789851+00', '2026-11-28 07:51:09.847085+00'),
	('01a22122-f976-73be-aa15-230f7a684afc', 'robot/job.submitted', 1, '00000000-0000-4000-8000-000000000022', '01a22122-f972-78b3-b4db-7fba9a899ba4', NULL, '{"job_id": "01a22122-f972-78b3-b4db-7fba9a899ba4", "carrier": "coordinadora", "item_count": 3}', '2026-11-28 07:51:09.937776+00', '2026-11-28 07:51:09.982343+00');
INSERT INTO engine.failed_jobs VALUES
	('a8b5fbe7-d6bd-45f5-abd6-04a23289c33d', 'unknown', '{"what": "is this"}', 'type: unknown event type None; known are order/updated, robot/item.completed, robot/item.requested, robot/job.completed, robot/job.submitted', NULL, 1, '2026-11-28 07:51:07.407867+00', NULL, NULL, NULL, NULL, 'InvalidEvent', '5049f292fd39ab4f', 0, NULL, '[]', NULL),
	('7ad9290a-da23-4177-95f0-bdb2e48ef7e0', 'robot/item.completed', '{"id": "01a22122-ef51-77f3-a54e-85946ec3aaf2", "data": {"job_id": "4de41de8-36ca-4c12-985d-564111cb43f7", "status": "error", "attempt": 0, "item_id": "d99f0c4e-4b7c-44dd-8949-43288081e116", "error_type": "portal", "error_message": "no"}, "time": "2026-11-28T07:51:07.345424Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "fe4f5763-b2fb-408f-a5c4-2bd78ac97512", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "specversion": "1.0"}', '01a22122-ef51-77f3-a54e-85946ec3aaf2: item d99f0c4e-4b7c-44dd-8949-43288081e116 is not of job 4de41de8-36ca-4c12-985d-564111cb43f7 of this workspace', 'Traceback (most recent call last):
  File "/srv/tallyman/app/engine/consume.py", line 73, in consume
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 245, in patiently
    return transaction()
           ^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 73, in <lambda>
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 93, in _deliver
    return apply(connection, letters)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 121, in apply
    publish_all(connection, handlers[kind](moment, [event for event in fresh if type(event.data) is kind]))
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/handlers.py", line 51, in item_completed
    return apply_results(moment, results).follow
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/results.py", line 120, in apply_results
    _refuse_strangers(results, judged)
  File "/srv/tallyman/app/logistics/results.py", line 149, in _refuse_strangers
    raise GuiltyEvents(reasons)
app.errors.GuiltyEvents: 01a22122-ef51-77f3-a54e-85946ec3aaf2: item d99f0c4e-4b7c-44dd-8949-43288081e116 is not of job 4de41de8-36ca-4c12-985d-564111cb43f7 of this workspace
', 1, '2026-11-28 07:51:07.422532+00', NULL, NULL, '01a22122-ef51-77f3-a54e-85946ec3aaf2', '00000000-0000-4000-8000-000000000021', 'GuiltyEvents', '725eb28706dd0157', 0, NULL, '[]', NULL),
	('0b809e1c-19dc-4837-a929-4000026ef9a5', 'depot/closed', '{"id": "01a22122-ef53-7719-bcf5-e1d84eec5b1a", "data": {"after": {}, "before": {}, "order_id": "04369f74-cfd7-4174-88bd-ebbbb3570d7a"}, "time": "2026-11-28T07:51:07.347591Z", "type": "depot/closed", "source": "tallyman/order", "subject": "a5f417a5-9107-4d27-bb15-51a8e3089559", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "depot/closed/1", "specversion": "1.0"}', 'type: unknown event type ''depot/closed''; known are order/updated, robot/item.completed, robot/item.requested, robot/job.completed, robot/job.submitted', NULL, 1, '2026-11-28 07:51:07.407867+00', NULL, 'ask the other team', '01a22122-ef53-7719-bcf5-e1d84eec5b1a', NULL, 'InvalidEvent', '28c9a2dc7ac3e3e8', 0, NULL, '[]', NULL),
	('25b225ae-53e9-496c-8b6a-32f52d89b266', 'robot/item.requested', '{"id": "40c34105-4331-5b29-ad48-c100c32800f7", "data": {"job_id": "01a22122-efbf-731f-9514-64c8a685d9b1", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-efc0-7a06-99d2-eb75b1df5f76", "order_id": "01a22122-efbb-7077-8cdf-0dcc52cbf1a3"}, "time": "2026-11-28T07:51:07.516724Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-efbf-731f-9514-64c8a685d9b1", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-efc1-7617-a0db-0d176f635a09", "specversion": "1.0", "correlationid": "01a22122-efc1-7617-a0db-0d176f635a09"}', '1 workers died or hung with this delivery', 'app.engine.rescue.KilledItsWorkers: 1 workers died or hung with this delivery
', 1, '2026-11-28 07:51:07.616145+00', NULL, NULL, '40c34105-4331-5b29-ad48-c100c32800f7', '00000000-0000-4000-8000-000000000021', 'KilledItsWorkers', '170d66aef61185e5', 0, NULL, '[]', NULL),
	('cc80f297-04d8-4df8-be39-fb6bb0913704', 'robot/item.requested', '{"id": "e5c9f2e5-8ce2-531b-a44c-4c30dfa8941f", "data": {"job_id": "01a22122-f079-7232-890a-47de239a7cda", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f07a-7833-ad83-93025e01afb9", "order_id": "01a22122-f076-740c-8dab-5fd3f7030a74"}, "time": "2026-11-28T07:51:07.720601Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f079-7232-890a-47de239a7cda", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f07b-70b3-b752-9fe188ce0946", "specversion": "1.0", "correlationid": "01a22122-f07b-70b3-b752-9fe188ce0946"}', '1 workers died or hung with this delivery', 'app.engine.rescue.KilledItsWorkers: 1 workers died or hung with this delivery
', 1, '2026-11-28 07:51:07.803449+00', '2026-11-28 07:51:10.010365+00', 'edited by ana: event 01a22122-f9bc-7382-a556-7cab4811c74d takes its place', 'e5c9f2e5-8ce2-531b-a44c-4c30dfa8941f', '00000000-0000-4000-8000-000000000021', 'KilledItsWorkers', '170d66aef61185e5', 0, NULL, '[]', '01a22122-f9bc-7382-a556-7cab4811c74d'),
	('c63026e7-ea58-44ab-9d2e-613623eedf27', 'robot/item.completed', '{"id": "06d570cf-4c30-5e15-92a8-b77b320f2013", "data": {"job_id": "01a22122-f127-74a0-93aa-168ab843c86f", "status": "success", "attempt": 0, "item_id": "01a22122-f128-7b3d-9be1-242fcc9d564d", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f128-7b3d-9be1-242fcc9d564d-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300005", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000006"}, "time": "2026-11-28T07:51:07.985986Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "01a22122-f127-74a0-93aa-168ab843c86f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "causationid": "f3ffafd1-a97b-537b-a8f9-dde54927a1a3", "specversion": "1.0", "correlationid": "01a22122-f12a-7cbe-858d-4c4be8602f07"}', 'a fault that is mended by now', 'Traceback (most recent call last):
  File "/srv/tallyman/app/engine/consume.py", line 73, in consume
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 245, in patiently
    return transaction()
           ^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 73, in <lambda>
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 93, in _deliver
    return apply(connection, letters)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 121, in apply
    publish_all(connection, handlers[kind](moment, [event for event in fresh if type(event.data) is kind]))
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/handlers.py", line 80, in broken_handler
    raise MendedSince("a fault that is mended by now")
tests.test_make_dump.MendedSince: a fault that is mended by now
', 1, '2026-11-28 07:51:08.055953+00', NULL, NULL, '06d570cf-4c30-5e15-92a8-b77b320f2013', '00000000-0000-4000-8000-000000000021', 'MendedSince', '09a11ef20e6ad490', 1, '2026-11-28 07:51:10.023352+00', '[]', NULL),
	('7c011dca-03d4-43cf-b664-7de418ee9774', 'robot/item.completed', '{"id": "9b6a5563-dbf6-517b-b54f-d1a0752f9d6d", "data": {"job_id": "01a22122-f127-74a0-93aa-168ab843c86f", "status": "success", "attempt": 0, "item_id": "01a22122-f129-763f-8a4c-18542486feed", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f129-763f-8a4c-18542486feed-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300006", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000007"}, "time": "2026-11-28T07:51:07.995167Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "01a22122-f127-74a0-93aa-168ab843c86f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "causationid": "db24f56a-a2de-52bf-915f-fa1b6034222a", "specversion": "1.0", "correlationid": "01a22122-f12a-7cbe-858d-4c4be8602f07"}', 'a fault that is mended by now', 'Traceback (most recent call last):
  File "/srv/tallyman/app/engine/consume.py", line 73, in consume
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 245, in patiently
    return transaction()
           ^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 73, in <lambda>
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 93, in _deliver
    return apply(connection, letters)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 121, in apply
    publish_all(connection, handlers[kind](moment, [event for event in fresh if type(event.data) is kind]))
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/handlers.py", line 80, in broken_handler
    raise MendedSince("a fault that is mended by now")
tests.test_make_dump.MendedSince: a fault that is mended by now
', 1, '2026-11-28 07:51:08.057604+00', NULL, NULL, '9b6a5563-dbf6-517b-b54f-d1a0752f9d6d', '00000000-0000-4000-8000-000000000021', 'MendedSince', '09a11ef20e6ad490', 0, NULL, '[]', NULL),
	('49948840-43ce-4f98-a6e3-bff4db68d175', 'robot/item.completed', '{"id": "01a22122-f231-73db-900b-c96a4287c116", "data": {"job_id": "317a22c5-6a88-4636-aa2d-118f93e19878", "status": "success", "attempt": 0, "item_id": "01a22122-f128-7b3d-9be1-242fcc9d564d", "value_sent": {"reference": "01a22122-f128-7b3d-9be1-242fcc9d564d-0"}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "seen to"}, "time": "2026-11-28T07:51:08.081610Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "17e6912b-eec6-495a-8f46-253a6147bd90", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "specversion": "1.0"}', '01a22122-f231-73db-900b-c96a4287c116: item 01a22122-f128-7b3d-9be1-242fcc9d564d is not of job 317a22c5-6a88-4636-aa2d-118f93e19878 of this workspace', 'Traceback (most recent call last):
  File "/srv/tallyman/app/engine/consume.py", line 73, in consume
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 245, in patiently
    return transaction()
           ^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 73, in <lambda>
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 93, in _deliver
    return apply(connection, letters)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 121, in apply
    publish_all(connection, handlers[kind](moment, [event for event in fresh if type(event.data) is kind]))
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/handlers.py", line 51, in item_completed
    return apply_results(moment, results).follow
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/results.py", line 120, in apply_results
    _refuse_strangers(results, judged)
  File "/srv/tallyman/app/logistics/results.py", line 149, in _refuse_strangers
    raise GuiltyEvents(reasons)
app.errors.GuiltyEvents: 01a22122-f231-73db-900b-c96a4287c116: item 01a22122-f128-7b3d-9be1-242fcc9d564d is not of job 317a22c5-6a88-4636-aa2d-118f93e19878 of this workspace
', 1, '2026-11-28 07:51:08.143689+00', '2026-11-28 07:51:08.162311+00', 'seen to', '01a22122-f231-73db-900b-c96a4287c116', '00000000-0000-4000-8000-000000000021', 'GuiltyEvents', '725eb28706dd0157', 0, NULL, '[]', NULL),
	('5d17b1bf-b6d4-44b9-8b1d-23c7b44f1f3c', 'robot/item.completed', '{"id": "01a22122-f288-7072-8984-ea29eee6aa6a", "data": {"job_id": "d4bf96fc-e16e-4f5c-b2f2-41ba82e8964f", "status": "success", "attempt": 0, "item_id": "01a22122-f128-7b3d-9be1-242fcc9d564d", "value_sent": {"reference": "01a22122-f128-7b3d-9be1-242fcc9d564d-0"}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "mistaken"}, "time": "2026-11-28T07:51:08.168182Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "67a1fa23-9574-44e6-bdf8-d0f80e91b6c2", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "specversion": "1.0"}', '01a22122-f288-7072-8984-ea29eee6aa6a: item 01a22122-f128-7b3d-9be1-242fcc9d564d is not of job d4bf96fc-e16e-4f5c-b2f2-41ba82e8964f of this workspace', 'Traceback (most recent call last):
  File "/srv/tallyman/app/engine/consume.py", line 73, in consume
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 245, in patiently
    return transaction()
           ^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 73, in <lambda>
    applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 93, in _deliver
    return apply(connection, letters)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/engine/consume.py", line 121, in apply
    publish_all(connection, handlers[kind](moment, [event for event in fresh if type(event.data) is kind]))
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/handlers.py", line 51, in item_completed
    return apply_results(moment, results).follow
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/tallyman/app/logistics/results.py", line 120, in apply_results
    _refuse_strangers(results, judged)
  File "/srv/tallyman/app/logistics/results.py", line 149, in _refuse_strangers
    raise GuiltyEvents(reasons)
app.errors.GuiltyEvents: 01a22122-f288-7072-8984-ea29eee6aa6a: item 01a22122-f128-7b3d-9be1-242fcc9d564d is not of job d4bf96fc-e16e-4f5c-b2f2-41ba82e8964f of this workspace
', 1, '2026-11-28 07:51:08.229739+00', '2026-11-28 07:51:08.249658+00', 'mistaken', '01a22122-f288-7072-8984-ea29eee6aa6a', '00000000-0000-4000-8000-000000000021', 'GuiltyEvents', '725eb28706dd0157', 0, NULL, '[]', NULL);
INSERT INTO engine.parked VALUES
	(44, 'portal/01a22122-edac-7123-962a-545c8c16e5d8', 1, '2026-11-28 07:51:09.89835+00');
INSERT INTO engine.paused_queues VALUES
	('robots', '2026-11-28 07:51:10.10878+00', 'ana', 'upgrade');
INSERT INTO engine.replay_plan_letters VALUES
	('01a22122-f9c2-78a5-850b-3072da0c6dd9', '7c011dca-03d4-43cf-b664-7de418ee9774', 1, '9b6a5563-dbf6-517b-b54f-d1a0752f9d6d', '2026-11-28 07:51:08.057604+00', 'valid', NULL, NULL, NULL, NULL),
	('01a22122-f9c2-78a5-850b-3072da0c6dd9', 'c63026e7-ea58-44ab-9d2e-613623eedf27', 0, '06d570cf-4c30-5e15-92a8-b77b320f2013', '2026-11-28 07:51:08.055953+00', 'valid', NULL, '2026-11-28 07:51:10.024582+00', '06d570cf-4c30-5e15-92a8-b77b320f2013', NULL),
	('01a22122-f9fd-78a7-b020-8b96c91dcd9d', '25b225ae-53e9-496c-8b6a-32f52d89b266', 0, '40c34105-4331-5b29-ad48-c100c32800f7', '2026-11-28 07:51:07.616145+00', 'in_doubt', 'the portal has it as 70000000004: the replay records that and enters nothing', NULL, NULL, NULL);
INSERT INTO engine.replay_plans VALUES
	('01a22122-f9c2-78a5-850b-3072da0c6dd9', '2026-11-28 07:51:10.018781+00', 'ana', '{"resolved": false, "error_class": "MendedSince"}', 2, 1, NULL),
	('01a22122-f9fd-78a7-b020-8b96c91dcd9d', '2026-11-28 07:51:10.077014+00', 'ana', '{"resolved": false, "error_class": "KilledItsWorkers"}', 1, 1, NULL);
INSERT INTO engine.rescues OVERRIDING SYSTEM VALUE VALUES
	(1, 12, 'robots', 7, 0, 'worker_gone', '2026-11-28 07:51:07.616145+00'),
	(2, 14, 'robots', 9, 0, 'worker_gone', '2026-11-28 07:51:07.803449+00'),
	(3, 37, 'robots', 26, 0, 'worker_gone', '2026-11-28 07:51:09.501708+00'),
	(4, 49, 'events', 34, 0, 'worker_gone', '2026-11-28 07:51:10.089928+00');
INSERT INTO engine.schema_migrations VALUES
	('procrastinate/3.10.0/schema.sql', 'c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.00.00_01_initial.sql', '6d7ba94c51af22f6cf437e01774a2de4d98666886f9c0597bfb24deb86546dfa', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.05.00_01_drop_started_at_column.sql', '8c36c1cbb9c2c2c4e29996d0839cfc0e674638dd59da73d22d5883a66c94a6d8', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.05.00_02_drop_started_at_column.sql', '62fab33b3996ef2bfab09a0502318c51cae1a186db58a2d803e1c341fcf6a149', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.05.00_03_drop_procrastinate_version_table.sql', 'e43a1e3cec48cf071140edce6828107b43ca6b7cfa8ae9dcd527a6fa99e40236', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.06.00_01_fix_procrastinate_fetch_job.sql', '4dac8738ebebc78b890b56db631018a3cd74089fc3a0e6004aaf7c6252779169', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.07.01_01_fix_trigger_status_events_insert.sql', 'e40c589ce32d0b3a0cc5d6b667da42f0fef066e51e6907fad196b1d8b83c9149', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.08.01_01_add_queueing_lock_column.sql', 'c8896579a44c9f258309f96c76b8c9415e1766dedfc4a8ca9158094438e6085b', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.10.00_01_close_fetch_job_race_condition.sql', '0be9e8dfa820f435482a2066fc68e6f44f92d7ca9a90226443c4be448de0fc32', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.10.00_02_add_defer_job_function.sql', 'f49362754442068426b66872cd7f15bb1a9610909a5e8539edbccce79a78c8e8', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.11.00_03_add_procrastinate_periodic_defers.sql', '9cf251e931e905ce31d4e5b8bebea220c035b255e3ec0046ba7659d2a6ee9cb6', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.12.00_01_add_foreign_key_index.sql', 'd4b44b60e1c79891a52145a9804d1f942cdfb6c8717d575ef2b3fec26b70224f', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.14.00_01_add_locks_to_periodic_defer.sql', '7150bc363db295dd7f7114ceab63ae7d52dfece3b91b1735546e64f7b22c1638', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.15.02_01_fix_procrastinate_defer_periodic_job.sql', 'cee1ba5828128ff062cd73a7505e5f5a827aea9d09131049cdde8ed32af767f1', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.16.00_01_add_finish_job_and_retry_job_functions.sql', 'adc143a05e5d53d4e32513cfe389a6201cc47a8169723f7135429109d8b41264', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.17.00_01_add_trigger_on_job_deletion.sql', 'a5c49223abe0566e2952013d16089ffc3b29c1238642341632a3e245f22f0b92', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.17.00_02_delete_finished_jobs.sql', 'd777d6c03fab2e590f6ac5144ac7401762bb2ba1c2b83504392638427e556242', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.17.00_03_add_checks_to_finish_job.sql', '989c1d0a968ebc0f7a33bebfcab41c0e41fcbf4629d6ed67e40d32d0a5b31201', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.17.00_04_add_checks_to_retry_job.sql', '588340629e015ef0fef21d702a64b3031fe449d9676474850ca4425dc63fcd87', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.18.01_01_fix_finish_job_compat_issue.sql', '046d1a97cbf2d9fbfbb0fb3a1dd6dc271f0267e55843566acc1cee86eab41288', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.19.00_01_add_index_on_procrastinate_jobs.sql', '3a424d244f9af480f581b493c5d93fea60b03540e369797294518f128c9e6360', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.22.00_01_add_kwargs_to_defer_periodic_job.sql', 'ba2e550f46f912b420aec63b46462ede8291b66552369df567dc0b36360eae3f', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/00.23.00_01_null_locks_excluded.sql', '24c853edc002f63535d87bbc7bba5093f4e26bc7844b504c0786242aea698c16', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/01.00.00_01_remove_old_finish_job_function.sql', '2665cd1782a2ecb93a7f95e7bf4867335886d31f26acc15fc97be7c8957ae323', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/01.01.01_01_job_id_bigint.sql', '223e3f20475bc76efe3e00509f9ba2d8610e27a77da72a5fcb7dbc4bec357a8b', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/02.00.03_01_add_job_priority.sql', '34aa498b770d1f6a1bdda291a45866dae7cc2cb509f19d8e0445788b91191142', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/02.05.00_01_add_periodic_job_priority.sql', '997a8b9d61c5c93752521f7dd52c87799752fe2e0396b3f636c413b23c778280', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/02.06.00_01_add_cancel_states.sql', '28e8be115842d81d29a0e818338dc319a24be044b469e30df6f535977a25a498', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/02.08.00_01_add_additional_params_to_retry_job.sql', 'd3c9d446a79ff2a9f3030db01772c33a4c4dd3898151598d05f1979ea4e76319', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/02.14.01_01_add_indexes_for_fetch_job.sql', '66c0fdc9ea24569f14d2b2ebaf9f8309858e66141dd271d9bf61ecf56c362ada', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.00.00_01_pre_cancel_notification.sql', 'e79f3dc19f80de6f6c54aec9deb4548989b68ae38061a55b6ee3144e313c1ecd', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.00.00_50_post_cancel_notification.sql', 'd16fba7d14d5c699ceb81fd67a450422bd4b8337b1934b4eb00aa5438eddfbdf', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.01.00_01_pre_add_heartbeat.sql', 'f07b98da98e470881e629478f85f142b2f28a659f1ab53e0da1dc7fe917834b8', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.01.00_50_post_add_heartbeat.sql', '562472e1ccfd262792a57dcd771f918dae87b0dc038e3832172b3f1ccce69dc0', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.02.00_01_pre_batch_defer_jobs.sql', '1f8f957339ff8a455bfd27bdbdbda41daca3b19931a032cd2d9356620af93951', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.02.00_50_post_batch_defer_jobs.sql', '8fc1d2c94a057eab36cb074f920f8fab17cb23f8ccee708a64ea52804222ac67', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.03.00_01_pre_priority_lock_fetch_job.sql', '70731b65ba99a63962fd1adc6e1c9b3bef6a480a091f3d41d32c50b7ddc31441', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.04.00_01_pre_add_retry_failed_job_procedure.sql', '6883b7336508620ba856db4a78558158fe15c8e68b2ea05c60b468e73c311255', '2026-11-28 07:51:06.396126+00'),
	('procrastinate/03.04.00_50_post_add_retry_failed_job_procedure.sql', 'b7938e0a0885d8d00d3f55647bcf141c3f2acac439070c1287734fcb3d98947b', '2026-11-28 07:51:06.396126+00'),
	('0001_roles.sql', 'bec57c4f235e38390a85c5ad4deeecfe9b5e38c4fd50926cbc60ff081bb3639e', '2026-11-28 07:51:06.510814+00'),
	('0002_tenancy.sql', 'f737136e757afddb62f2f37ec8753f537d7e32375721dc313f0f1c967b317596', '2026-11-28 07:51:06.528167+00'),
	('0003_engine.sql', 'bf169d795cf853a3a9bb61b3f0a6c47a4e624342a50996f40146a94a819ca230', '2026-11-28 07:51:06.573732+00'),
	('0004_queue.sql', '4d50476e01ee315c351970b74168e91083e5e618b48ea7ea94bc9c9e57aeef47', '2026-11-28 07:51:06.666149+00'),
	('0005_progress.sql', 'b0909b84f8911c309e27c6f3c46e5799146314aa83ec4ec8fb72f37bcf417f51', '2026-11-28 07:51:06.685741+00'),
	('0006_logistics.sql', '4141c90d5939dbbc78f99ca039c979a2436b64a9572b90d02317c078cc21d560', '2026-11-28 07:51:06.691287+00'),
	('0007_dead_letters.sql', '93dcd4a94e368c92e863757a851cc01952c8e3826d39e7cf6418ec6424a30357', '2026-11-28 07:51:06.782593+00'),
	('0008_operations.sql', '9b08ba64bbecbb19bd4c8eb5224f5f7b3e51db8ea7a60d8299899a2e215953d2', '2026-11-28 07:51:06.810835+00'),
	('0009_sequence.sql', '3b10ffa6d9739f9778419efbc20eedf5c7c65a196acf1683d944810001477393', '2026-11-28 07:51:06.830558+00'),
	('0010_room_for_updates.sql', 'b38d13712bc80bcf9c744aa4363ea0e662b0b4d6643f36b17e01c3394ff6d531', '2026-11-28 07:51:06.845795+00'),
	('0011_queue_in_hand_index.sql', 'ea75bbf750cb28f9881137053154e40f6552e7634cb7310492958e5a9523eb56', '2026-11-28 07:51:06.858538+00'),
	('0012_queue_worker_index.sql', 'c039781a04f804ad60de241d8a9fb2ad2036bfe8634315746e0615c06d2aecf9', '2026-11-28 07:51:06.862592+00');
INSERT INTO engine.slots VALUES
	('portal/01a22122-ed97-763c-bf2f-206de75193d1', 1, 39, 0, 28, '2026-11-28 07:51:09.603064+00'),
	('portal/01a22122-ed97-763c-bf2f-206de75193d1', 2, 39, 0, 28, '2026-11-28 07:51:09.603064+00'),
	('portal/01a22122-ed97-763c-bf2f-206de75193d1', 3, 39, 0, 28, '2026-11-28 07:51:09.603064+00'),
	('portal/01a22122-edac-7123-962a-545c8c16e5d8', 1, 41, 0, 30, '2026-11-28 07:51:09.763757+00');
INSERT INTO logistics.carrier_configs VALUES
	('01a22122-ed97-763c-bf2f-206de75193d1', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'demo', 'sealed:v1:test:3SDFjXwbMWRPTuXOvPUfk-oOY_oD9QCvuJCnkTF5L6Wszlzha-txuR8=', true, 'http://127.0.0.1:45271', 4, DEFAULT, '2026-11-28 07:51:06.903692+00', '2026-11-28 07:51:06.912502+00'),
	('01a22122-edac-7123-962a-545c8c16e5d8', '00000000-0000-4000-8000-000000000022', 'coordinadora', 'demo', 'sealed:v1:test:e2PXmQQJU8eU5onN8BSkizFm0dEzNLZI1KYa8nK_rXQv0xpVcKXe1x0=', true, 'http://127.0.0.1:45271', 1, DEFAULT, '2026-11-28 07:51:06.924026+00', '2026-11-28 07:51:06.937402+00');
INSERT INTO logistics.carrier_coverage VALUES
	('01a22122-eda6-7731-885a-98d1a2c26b48', 'coordinadora', 'Bogotá', 'Cundinamarca', 'BOGOTA (C/MARCA)', true, DEFAULT, DEFAULT, '2026-11-28 07:51:06.914136+00', '2026-11-28 07:51:06.914136+00'),
	('01a22122-eda7-72f7-821c-47752a822e55', 'coordinadora', 'Medellín', 'Antioquia', 'MEDELLIN (ANT)', true, DEFAULT, DEFAULT, '2026-11-28 07:51:06.914136+00', '2026-11-28 07:51:06.914136+00');
INSERT INTO logistics.orders VALUES
	('01a22122-edbf-7d1e-9c10-5081f651b047', '00000000-0000-4000-8000-000000000021', '00000', 'Recipient', '1020300000', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, '70000000001', 'shipped', '2026-11-28 07:51:06.94006+00', '2026-11-28 07:51:07.231843+00'),
	('01a22122-edc0-7978-8a69-32beb33a8030', '00000000-0000-4000-8000-000000000021', '00001', 'Recipient', '1020300001', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, '70000000002', 'shipped', '2026-11-28 07:51:06.94006+00', '2026-11-28 07:51:07.239797+00'),
	('01a22122-edc1-7181-b575-c835b15e3012', '00000000-0000-4000-8000-000000000021', '00002', 'Recipient', '1020300002', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, '70000000003', 'shipped', '2026-11-28 07:51:06.94006+00', '2026-11-28 07:51:07.239797+00'),
	('01a22122-efbb-7077-8cdf-0dcc52cbf1a3', '00000000-0000-4000-8000-000000000021', '00003', 'Recipient', '1020300003', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:07.446858+00', '2026-11-28 07:51:07.446858+00'),
	('01a22122-f076-740c-8dab-5fd3f7030a74', '00000000-0000-4000-8000-000000000021', '00004', 'Recipient', '1020300004', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:07.633033+00', '2026-11-28 07:51:07.633033+00'),
	('01a22122-f124-7f49-aa57-02193ec5ebaf', '00000000-0000-4000-8000-000000000021', '00005', 'Recipient', '1020300005', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:07.808451+00', '2026-11-28 07:51:07.808451+00'),
	('01a22122-f125-7007-8e0b-f51f0207b6fe', '00000000-0000-4000-8000-000000000021', '00006', 'Recipient', '1020300006', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:07.808451+00', '2026-11-28 07:51:07.808451+00'),
	('01a22122-f2f4-7b73-ad70-501c13a43570', '00000000-0000-4000-8000-000000000021', '00010', 'Recipient', '1020300010', '3000000000', NULL, 'Calle 8', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:08.270163+00', '2026-11-28 07:51:08.270163+00'),
	('01a22122-f2e3-7631-9ca0-2a0f3d374cf4', '00000000-0000-4000-8000-000000000021', '00008', 'Recipient', '1020300008', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, '70000000009', 'shipped', '2026-11-28 07:51:08.25299+00', '2026-11-28 07:51:08.547234+00'),
	('01a22122-f2e2-7128-bb33-cc1334ff771b', '00000000-0000-4000-8000-000000000021', '00007', 'Recipient', '1020300007', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, '70000000008', 'shipped', '2026-11-28 07:51:08.25299+00', '2026-11-28 07:51:08.539617+00'),
	('01a22122-f2ea-7769-ae71-91e029c5760f', '00000000-0000-4000-8000-000000000021', '00009', 'Recipient', '1020300009', '3000000000', NULL, 'Calle 9', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, '70000000010', 'shipped', '2026-11-28 07:51:08.262548+00', '2026-11-28 07:51:08.927028+00'),
	('01a22122-f5db-7b34-8e87-f364c752eff3', '00000000-0000-4000-8000-000000000021', '00011', 'Recipient', '1020300011', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.015314+00', '2026-11-28 07:51:09.015314+00'),
	('01a22122-f5dc-7c30-a55c-3789793f6fee', '00000000-0000-4000-8000-000000000021', '00012', 'Recipient', '1020300012', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.015314+00', '2026-11-28 07:51:09.015314+00'),
	('01a22122-f5dd-793d-8aa5-97296bffe86e', '00000000-0000-4000-8000-000000000021', '00013', 'Recipient', '1020300013', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.015314+00', '2026-11-28 07:51:09.015314+00'),
	('01a22122-f70c-71f2-92b3-2398f5ba5dc8', '00000000-0000-4000-8000-000000000021', '00014', 'Recipient', '1020300014', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.31735+00', '2026-11-28 07:51:09.31735+00'),
	('01a22122-f70d-77d8-a349-2072776015c8', '00000000-0000-4000-8000-000000000021', '00015', 'Recipient', '1020300015', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.31735+00', '2026-11-28 07:51:09.31735+00'),
	('01a22122-f70e-7482-9df8-bac6b3dd2ef5', '00000000-0000-4000-8000-000000000021', '00016', 'Recipient', '1020300016', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.31735+00', '2026-11-28 07:51:09.31735+00'),
	('01a22122-f7c9-773a-8d4c-b139c70010bd', '00000000-0000-4000-8000-000000000021', '00017', 'Recipient', '1020300017', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.509209+00', '2026-11-28 07:51:09.509209+00'),
	('01a22122-f7ca-7b44-a495-a97b9012bea8', '00000000-0000-4000-8000-000000000021', '00018', 'Recipient', '1020300018', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.509209+00', '2026-11-28 07:51:09.509209+00'),
	('01a22122-f7cb-78b4-a843-17369aebd06b', '00000000-0000-4000-8000-000000000021', '00019', 'Recipient', '1020300019', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.509209+00', '2026-11-28 07:51:09.509209+00'),
	('01a22122-f863-72ff-826a-61ebce8f9a1d', '00000000-0000-4000-8000-000000000022', '00000', 'Recipient', '1020300000', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.663311+00', '2026-11-28 07:51:09.663311+00'),
	('01a22122-f8d9-7e75-8617-636ee692f574', '00000000-0000-4000-8000-000000000022', '00001', 'Recipient', '1020300001', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.779564+00', '2026-11-28 07:51:09.779564+00'),
	('01a22122-f8da-7121-a06e-712bbd0125a3', '00000000-0000-4000-8000-000000000022', '00002', 'Recipient', '1020300002', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.779564+00', '2026-11-28 07:51:09.779564+00'),
	('01a22122-f8db-7947-94c1-08d66ef808c3', '00000000-0000-4000-8000-000000000022', '00003', 'Recipient', '1020300003', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.779564+00', '2026-11-28 07:51:09.779564+00'),
	('01a22122-f96e-77d7-b6c9-4019ee56cbe3', '00000000-0000-4000-8000-000000000022', '00004', 'Recipient', '1020300004', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.929456+00', '2026-11-28 07:51:09.929456+00'),
	('01a22122-f96f-7dc2-bc40-3dcfd0aecf95', '00000000-0000-4000-8000-000000000022', '00005', 'Recipient', '1020300005', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.929456+00', '2026-11-28 07:51:09.929456+00'),
	('01a22122-f970-7f06-b4ab-e89066a70e43', '00000000-0000-4000-8000-000000000022', '00006', 'Recipient', '1020300006', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:09.929456+00', '2026-11-28 07:51:09.929456+00'),
	('01a22122-fa04-7101-8af0-8d51e926b14b', '00000000-0000-4000-8000-000000000021', '00022', 'Recipient', '1020300022', '3000000000', NULL, 'Calle 2', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:10.079004+00', '2026-11-28 07:51:10.085177+00'),
	('01a22122-fa02-783e-8e09-5b59d0c07879', '00000000-0000-4000-8000-000000000021', '00020', 'Recipient', '1020300020', '3000000000', NULL, 'Calle 3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:10.079004+00', '2026-11-28 07:51:10.092915+00'),
	('01a22122-fa03-7596-ad7b-4961cc8cbe9f', '00000000-0000-4000-8000-000000000021', '00021', 'Recipient', '1020300021', '3000000000', NULL, 'Calle 3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:10.079004+00', '2026-11-28 07:51:10.094982+00'),
	('01a22122-fa16-7111-b4f5-581a5cb21e4f', '00000000-0000-4000-8000-000000000022', '00007', 'Recipient', '1020300007', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:10.098922+00', '2026-11-28 07:51:10.098922+00'),
	('01a22122-fa17-75e9-badd-d3ad15621ae1', '00000000-0000-4000-8000-000000000022', '00008', 'Recipient', '1020300008', '3000000000', NULL, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1, 1.500, 5000000, 0, NULL, 'pending', '2026-11-28 07:51:10.098922+00', '2026-11-28 07:51:10.098922+00');
INSERT INTO logistics.robot_job_items VALUES
	('01a22122-f2fa-7ef8-9919-1aea02d08fe6', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2e2-7128-bb33-cc1334ff771b', 'success', '70000000008', 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f2fa-7ef8-9919-1aea02d08fe6-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300007", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 0, NULL, '2026-11-28 07:51:08.407171+00', '2026-11-28 07:51:08.559496+00', '2026-11-28 07:51:08.280044+00', '2026-11-28 07:51:08.539617+00'),
	('01a22122-f2fc-7b2d-ab44-4d6609a23130', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2ea-7769-ae71-91e029c5760f', 'success', '70000000010', 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 9", "reference": "01a22122-f2fc-7b2d-ab44-4d6609a23130-1", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300009", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 1, '2026-11-28 07:51:08.639156+00', '2026-11-28 07:51:08.785939+00', '2026-11-28 07:51:08.934163+00', '2026-11-28 07:51:08.280044+00', '2026-11-28 07:51:08.927028+00'),
	('01a22122-edc5-7d5c-9ed0-c5c3137149cb', '01a22122-edc2-7f7e-8932-22c619daf65e', '01a22122-edbf-7d1e-9c10-5081f651b047', 'success', '70000000001', 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-edc5-7d5c-9ed0-c5c3137149cb-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300000", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 0, NULL, '2026-11-28 07:51:07.089384+00', '2026-11-28 07:51:07.244903+00', '2026-11-28 07:51:06.946372+00', '2026-11-28 07:51:07.231843+00'),
	('01a22122-edc6-71ca-86cd-f33e5e34326c', '01a22122-edc2-7f7e-8932-22c619daf65e', '01a22122-edc0-7978-8a69-32beb33a8030', 'success', '70000000002', 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-edc6-71ca-86cd-f33e5e34326c-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300001", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 0, NULL, '2026-11-28 07:51:07.089384+00', '2026-11-28 07:51:07.246205+00', '2026-11-28 07:51:06.946372+00', '2026-11-28 07:51:07.239797+00'),
	('01a22122-edc7-7750-a379-35b323b843b1', '01a22122-edc2-7f7e-8932-22c619daf65e', '01a22122-edc1-7181-b575-c835b15e3012', 'success', '70000000003', 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-edc7-7750-a379-35b323b843b1-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300002", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 0, NULL, '2026-11-28 07:51:07.089384+00', '2026-11-28 07:51:07.246205+00', '2026-11-28 07:51:06.946372+00', '2026-11-28 07:51:07.239797+00'),
	('01a22122-efc0-7a06-99d2-eb75b1df5f76', '01a22122-efbf-731f-9514-64c8a685d9b1', '01a22122-efbb-7077-8cdf-0dcc52cbf1a3', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:07.562047+00', NULL, '2026-11-28 07:51:07.454895+00', '2026-11-28 07:51:07.552996+00'),
	('01a22122-f07a-7833-ad83-93025e01afb9', '01a22122-f079-7232-890a-47de239a7cda', '01a22122-f076-740c-8dab-5fd3f7030a74', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:07.765512+00', NULL, '2026-11-28 07:51:07.640929+00', '2026-11-28 07:51:07.757384+00'),
	('01a22122-f128-7b3d-9be1-242fcc9d564d', '01a22122-f127-74a0-93aa-168ab843c86f', '01a22122-f124-7f49-aa57-02193ec5ebaf', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:07.941944+00', NULL, '2026-11-28 07:51:07.81509+00', '2026-11-28 07:51:07.932802+00'),
	('01a22122-f129-763f-8a4c-18542486feed', '01a22122-f127-74a0-93aa-168ab843c86f', '01a22122-f125-7007-8e0b-f51f0207b6fe', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:07.941944+00', NULL, '2026-11-28 07:51:07.81509+00', '2026-11-28 07:51:07.932802+00'),
	('01a22122-f2fd-7457-9c65-b221e8ff5796', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2f4-7b73-ad70-501c13a43570', 'processing', NULL, 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 8", "reference": "01a22122-f2fd-7457-9c65-b221e8ff5796-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300010", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 1, '2026-11-28 07:51:08.639156+00', '2026-11-28 07:51:08.785939+00', NULL, '2026-11-28 07:51:08.280044+00', '2026-11-28 07:51:08.771964+00'),
	('01a22122-f2fb-7718-8c59-e259193fba24', '01a22122-f2f8-7883-beb6-b6139aedec06', '01a22122-f2e3-7631-9ca0-2a0f3d374cf4', 'success', '70000000009', 'BOGOTA (C/MARCA)', '{"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f2fb-7718-8c59-e259193fba24-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300008", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}', NULL, NULL, 0, NULL, '2026-11-28 07:51:08.407171+00', '2026-11-28 07:51:08.552744+00', '2026-11-28 07:51:08.280044+00', '2026-11-28 07:51:08.547234+00'),
	('01a22122-f5e1-7db6-ac48-7c4c55c5b89c', '01a22122-f5de-7e7a-956f-4b527c73eb3f', '01a22122-f5db-7b34-8e87-f364c752eff3', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.194803+00', NULL, '2026-11-28 07:51:09.022653+00', '2026-11-28 07:51:09.182914+00'),
	('01a22122-f5e2-7cb9-8dbe-832300d20f0e', '01a22122-f5de-7e7a-956f-4b527c73eb3f', '01a22122-f5dc-7c30-a55c-3789793f6fee', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.194803+00', NULL, '2026-11-28 07:51:09.022653+00', '2026-11-28 07:51:09.182914+00'),
	('01a22122-f5e3-73be-9505-07e94a561dc2', '01a22122-f5de-7e7a-956f-4b527c73eb3f', '01a22122-f5dd-793d-8aa5-97296bffe86e', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.194803+00', NULL, '2026-11-28 07:51:09.022653+00', '2026-11-28 07:51:09.182914+00'),
	('01a22122-f714-7d09-ae03-ad1d1499b01d', '01a22122-f710-73b7-9c22-50dddbe7ac1a', '01a22122-f70c-71f2-92b3-2398f5ba5dc8', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.451969+00', NULL, '2026-11-28 07:51:09.32865+00', '2026-11-28 07:51:09.437627+00'),
	('01a22122-f715-70d0-8062-ee6ee2ee659e', '01a22122-f710-73b7-9c22-50dddbe7ac1a', '01a22122-f70d-77d8-a349-2072776015c8', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.451969+00', NULL, '2026-11-28 07:51:09.32865+00', '2026-11-28 07:51:09.437627+00'),
	('01a22122-f716-7690-bb2e-9c3a9ef44c13', '01a22122-f710-73b7-9c22-50dddbe7ac1a', '01a22122-f70e-7482-9df8-bac6b3dd2ef5', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.451969+00', NULL, '2026-11-28 07:51:09.32865+00', '2026-11-28 07:51:09.437627+00'),
	('01a22122-f7cd-7714-817f-e2959effa88b', '01a22122-f7cc-7247-93bf-95e919824a54', '01a22122-f7c9-773a-8d4c-b139c70010bd', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.611165+00', NULL, '2026-11-28 07:51:09.516266+00', '2026-11-28 07:51:09.603064+00'),
	('01a22122-f7ce-7536-9c90-594bcd2fce50', '01a22122-f7cc-7247-93bf-95e919824a54', '01a22122-f7ca-7b44-a495-a97b9012bea8', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.611165+00', NULL, '2026-11-28 07:51:09.516266+00', '2026-11-28 07:51:09.603064+00'),
	('01a22122-f7cf-7c9c-b361-64664439697b', '01a22122-f7cc-7247-93bf-95e919824a54', '01a22122-f7cb-78b4-a843-17369aebd06b', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.611165+00', NULL, '2026-11-28 07:51:09.516266+00', '2026-11-28 07:51:09.603064+00'),
	('01a22122-f866-7c95-82fe-8549326736ac', '01a22122-f865-713e-9738-866779cfb7c3', '01a22122-f863-72ff-826a-61ebce8f9a1d', 'processing', NULL, NULL, NULL, NULL, NULL, 0, NULL, '2026-11-28 07:51:09.772756+00', NULL, '2026-11-28 07:51:09.669664+00', '2026-11-28 07:51:09.763757+00'),
	('01a22122-f8e0-77ae-a23c-84b1f30405b2', '01a22122-f8de-7ad7-ba22-2e9b5fa36320', '01a22122-f8d9-7e75-8617-636ee692f574', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:09.789992+00', '2026-11-28 07:51:09.789992+00'),
	('01a22122-f8e1-7f4c-a546-b2cabfca41b6', '01a22122-f8de-7ad7-ba22-2e9b5fa36320', '01a22122-f8da-7121-a06e-712bbd0125a3', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:09.789992+00', '2026-11-28 07:51:09.789992+00'),
	('01a22122-f8e2-7aae-ab52-6eeb90970013', '01a22122-f8de-7ad7-ba22-2e9b5fa36320', '01a22122-f8db-7947-94c1-08d66ef808c3', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:09.789992+00', '2026-11-28 07:51:09.789992+00'),
	('01a22122-f973-7e46-9a6c-eac33cde7239', '01a22122-f972-78b3-b4db-7fba9a899ba4', '01a22122-f96e-77d7-b6c9-4019ee56cbe3', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:09.937956+00', '2026-11-28 07:51:09.937956+00'),
	('01a22122-f974-79b7-abae-20cfca5b6d5d', '01a22122-f972-78b3-b4db-7fba9a899ba4', '01a22122-f96f-7dc2-bc40-3dcfd0aecf95', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:09.937956+00', '2026-11-28 07:51:09.937956+00'),
	('01a22122-f975-749f-ba17-19e53c904da0', '01a22122-f972-78b3-b4db-7fba9a899ba4', '01a22122-f970-7f06-b4ab-e89066a70e43', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:09.937956+00', '2026-11-28 07:51:09.937956+00'),
	('01a22122-fa12-7be7-a9d6-bbee5163bca7', '01a22122-fa11-72f8-a24e-2b5d07bfbb98', '01a22122-fa02-783e-8e09-5b59d0c07879', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:10.096958+00', '2026-11-28 07:51:10.096958+00'),
	('01a22122-fa13-7578-8821-005cd329f02e', '01a22122-fa11-72f8-a24e-2b5d07bfbb98', '01a22122-fa03-7596-ad7b-4961cc8cbe9f', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:10.096958+00', '2026-11-28 07:51:10.096958+00'),
	('01a22122-fa14-79f4-802e-07a6fef76216', '01a22122-fa11-72f8-a24e-2b5d07bfbb98', '01a22122-fa04-7101-8af0-8d51e926b14b', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:10.096958+00', '2026-11-28 07:51:10.096958+00'),
	('01a22122-fa1a-7f99-8ce1-03fa6c3242c5', '01a22122-fa18-781a-a36d-b128d5296f33', '01a22122-fa16-7111-b4f5-581a5cb21e4f', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:10.104439+00', '2026-11-28 07:51:10.104439+00'),
	('01a22122-fa1b-707c-83ce-f5c0898086b9', '01a22122-fa18-781a-a36d-b128d5296f33', '01a22122-fa17-75e9-badd-d3ad15621ae1', 'pending', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, '2026-11-28 07:51:10.104439+00', '2026-11-28 07:51:10.104439+00');
INSERT INTO logistics.robot_jobs VALUES
	('01a22122-f5de-7e7a-956f-4b527c73eb3f', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 3, 0, 0, 'results wait', '2026-11-28 07:51:09.105443+00', NULL, '2026-11-28 07:51:09.022653+00', '2026-11-28 07:51:09.094658+00', 1, '344fe1fc6b058d441823c2ef0c8934f9adc24bd6f30e51a9d4c50b12786e5977'),
	('01a22122-edc2-7f7e-8932-22c619daf65e', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'completed', 3, 3, 0, 'done', '2026-11-28 07:51:07.016568+00', '2026-11-28 07:51:07.246205+00', '2026-11-28 07:51:06.946372+00', '2026-11-28 07:51:07.239797+00', 1, 'd1ccf34e88bffbc203d78370e6cb2ca491ab56e0d771a84f5ae34b416e77b1b1'),
	('01a22122-efbf-731f-9514-64c8a685d9b1', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 1, 0, 0, 'dead in doubt', '2026-11-28 07:51:07.516724+00', NULL, '2026-11-28 07:51:07.454895+00', '2026-11-28 07:51:07.50857+00', 1, 'b786767cf1e397a04fa80929bc1f378c77fa8a7542dd717d65176d7c6ddf87c2'),
	('01a22122-f079-7232-890a-47de239a7cda', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 1, 0, 0, 'edited in doubt', '2026-11-28 07:51:07.720601+00', NULL, '2026-11-28 07:51:07.640929+00', '2026-11-28 07:51:07.708964+00', 1, '66fe8181695ff640c3e1157c7732d013121518fbfa0b69b6e9acb8dd002f72a6'),
	('01a22122-f127-74a0-93aa-168ab843c86f', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 2, 0, 0, 'dead result', '2026-11-28 07:51:07.884613+00', NULL, '2026-11-28 07:51:07.81509+00', '2026-11-28 07:51:07.878462+00', 1, 'df9187556d110aad05b02f58fef09ca2152fb920e95f9947528fe7494d9b1c73'),
	('01a22122-f710-73b7-9c22-50dddbe7ac1a', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 3, 0, 0, 'in doubt, rescued', '2026-11-28 07:51:09.401003+00', NULL, '2026-11-28 07:51:09.32865+00', '2026-11-28 07:51:09.391816+00', 1, '279a39850c0c4b580eaf8f204a2c150a535b783f795b046bdcf4d9afb88c87aa'),
	('01a22122-f2f8-7883-beb6-b6139aedec06', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 4, 3, 0, 'second generation', '2026-11-28 07:51:08.337512+00', NULL, '2026-11-28 07:51:08.280044+00', '2026-11-28 07:51:08.927028+00', 2, '6719e10d36d324980139c39d87ec7f7cbd9cee3476f0ca62eaaca0c70bd74adf'),
	('01a22122-f7cc-7247-93bf-95e919824a54', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'processing', 3, 0, 0, 'in doubt, in hand', '2026-11-28 07:51:09.574766+00', NULL, '2026-11-28 07:51:09.516266+00', '2026-11-28 07:51:09.565532+00', 1, '4eece0fbe09a8dbf08e63e9809c4879b9aa4c0f63c2c7760831f72a3c28e8619'),
	('01a22122-f865-713e-9738-866779cfb7c3', '00000000-0000-4000-8000-000000000022', 'coordinadora', 'processing', 1, 0, 0, 'begun', '2026-11-28 07:51:09.729133+00', NULL, '2026-11-28 07:51:09.669664+00', '2026-11-28 07:51:09.722192+00', 1, '14bd7d5ade290ba96ba5c6c9e3803218909e279d92081065e1eae3cdceded061'),
	('01a22122-f8de-7ad7-ba22-2e9b5fa36320', '00000000-0000-4000-8000-000000000022', 'coordinadora', 'processing', 3, 0, 0, 'parked', '2026-11-28 07:51:09.854009+00', NULL, '2026-11-28 07:51:09.789992+00', '2026-11-28 07:51:09.847085+00', 1, 'c37612ae38c45c8b779c2f43faca24b952bd8cba2af13ea5588bcfdc3821efe3'),
	('01a22122-f972-78b3-b4db-7fba9a899ba4', '00000000-0000-4000-8000-000000000022', 'coordinadora', 'processing', 3, 0, 0, 'requested', '2026-11-28 07:51:09.992545+00', NULL, '2026-11-28 07:51:09.937956+00', '2026-11-28 07:51:09.982343+00', 1, 'eae21864cea869535b8c093711b8a071b0d136a40c0d8cddf921d3625b47d9f8'),
	('01a22122-fa11-72f8-a24e-2b5d07bfbb98', '00000000-0000-4000-8000-000000000021', 'coordinadora', 'pending', 3, 0, 0, 'submitted', NULL, NULL, '2026-11-28 07:51:10.096958+00', '2026-11-28 07:51:10.096958+00', 1, 'f04f0b351e0a400eb69381cffe9e0fc70cafcd8abb6bc5f1f9fc45a507cf6dab'),
	('01a22122-fa18-781a-a36d-b128d5296f33', '00000000-0000-4000-8000-000000000022', 'coordinadora', 'pending', 2, 0, 0, 'submitted too', NULL, NULL, '2026-11-28 07:51:10.104439+00', '2026-11-28 07:51:10.104439+00', 1, 'b501f40613dc4c3f82a651519799d5f9aba00dd5db40b732467faa2de9883244');
INSERT INTO public.procrastinate_events VALUES
	(59, 30, 'scheduled', '2041-03-08 21:41:38.096895+00'),
	(60, 30, 'deferred', '2026-11-28 07:51:08.877646+00'),
	(68, 34, 'deferred', '2026-11-28 07:51:09.266386+00'),
	(69, 35, 'deferred', '2026-11-28 07:51:09.287835+00'),
	(70, 34, 'scheduled', 'infinity'),
	(71, 35, 'scheduled', 'infinity'),
	(74, 37, 'deferred', '2026-11-28 07:51:09.391816+00'),
	(75, 37, 'started', '2026-11-28 07:51:09.423245+00'),
	(76, 37, 'deferred_for_retry', '2026-11-28 07:51:09.501708+00'),
	(77, 37, 'scheduled', 'infinity'),
	(80, 39, 'deferred', '2026-11-28 07:51:09.565532+00'),
	(81, 39, 'started', '2026-11-28 07:51:09.5942+00'),
	(84, 41, 'deferred', '2026-11-28 07:51:09.722192+00'),
	(85, 41, 'started', '2026-11-28 07:51:09.752004+00'),
	(90, 44, 'scheduled', '2026-11-28 07:56:09.90796+00'),
	(91, 44, 'deferred', '2026-11-28 07:51:09.89835+00'),
	(92, 44, 'scheduled', '2046-11-28 07:56:09.90796+00'),
	(95, 46, 'deferred', '2026-11-28 07:51:09.982343+00'),
	(96, 47, 'deferred', '2026-11-28 07:51:10.010365+00'),
	(97, 48, 'deferred', '2026-11-28 07:51:10.021757+00'),
	(98, 49, 'deferred', '2026-11-28 07:51:10.085177+00'),
	(99, 48, 'scheduled', 'infinity'),
	(100, 37, 'scheduled', 'infinity'),
	(101, 46, 'scheduled', 'infinity'),
	(102, 47, 'scheduled', 'infinity'),
	(103, 49, 'started', '2026-11-28 07:51:10.088953+00'),
	(104, 49, 'deferred_for_retry', '2026-11-28 07:51:10.089928+00'),
	(105, 50, 'deferred', '2026-11-28 07:51:10.092915+00'),
	(106, 51, 'deferred', '2026-11-28 07:51:10.094982+00'),
	(107, 52, 'deferred', '2026-11-28 07:51:10.096958+00'),
	(108, 53, 'deferred', '2026-11-28 07:51:10.104439+00'),
	(109, 54, 'deferred', '2026-11-28 07:51:10.107589+00'),
	(110, 54, 'cancelled', '2026-11-28 07:51:10.108096+00');
INSERT INTO public.procrastinate_jobs VALUES
	(30, 'robots', 'perform', 0, NULL, NULL, '{"error": "PortalUnavailable: the portal answered 500", "events": [{"id": "70bb62b4-5f2a-56d8-9ae5-0e5377b24562", "data": {"job_id": "01a22122-f2f8-7883-beb6-b6139aedec06", "attempt": 1, "carrier": "coordinadora", "item_id": "01a22122-f2fd-7457-9c65-b221e8ff5796", "order_id": "01a22122-f2f4-7b73-ad70-501c13a43570"}, "time": "2026-11-28T07:51:08.722254Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f2f8-7883-beb6-b6139aedec06", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f468-7bc7-a78b-36dc2d56e88a", "specversion": "1.0", "correlationid": "01a22122-f468-7bc7-a78b-36dc2d56e88a"}], "attempt": 1}', 'todo', '2041-03-08 21:41:38.096895+00', 0, false, NULL),
	(47, 'robots', 'perform', 0, NULL, NULL, '{"events": [{"id": "01a22122-f9bc-7382-a556-7cab4811c74d", "data": {"job_id": "01a22122-f079-7232-890a-47de239a7cda", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f07a-7833-ad83-93025e01afb9", "order_id": "01a22122-f076-740c-8dab-5fd3f7030a74"}, "time": "2026-11-28T07:51:10.012577Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f079-7232-890a-47de239a7cda", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "e5c9f2e5-8ce2-531b-a44c-4c30dfa8941f", "specversion": "1.0", "correlationid": "01a22122-f07b-70b3-b752-9fe188ce0946"}], "attempt": 0}', 'todo', NULL, 0, false, NULL),
	(44, 'robots', 'perform', 0, NULL, NULL, '{"events": [{"id": "e4077316-9e4f-52b8-863d-04ea51f29af3", "data": {"job_id": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f8e0-77ae-a23c-84b1f30405b2", "order_id": "01a22122-f8d9-7e75-8617-636ee692f574"}, "time": "2026-11-28T07:51:09.854009Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f8e3-7459-a491-ef5b151dbe9b", "specversion": "1.0", "correlationid": "01a22122-f8e3-7459-a491-ef5b151dbe9b"}, {"id": "f59126e7-1f6d-545f-a4df-af4e1820d51f", "data": {"job_id": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f8e1-7f4c-a546-b2cabfca41b6", "order_id": "01a22122-f8da-7121-a06e-712bbd0125a3"}, "time": "2026-11-28T07:51:09.854009Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f8e3-7459-a491-ef5b151dbe9b", "specversion": "1.0", "correlationid": "01a22122-f8e3-7459-a491-ef5b151dbe9b"}, {"id": "17d60192-8c75-5962-9cf7-9d432a074254", "data": {"job_id": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f8e2-7aae-ab52-6eeb90970013", "order_id": "01a22122-f8db-7947-94c1-08d66ef808c3"}, "time": "2026-11-28T07:51:09.854009Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f8de-7ad7-ba22-2e9b5fa36320", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f8e3-7459-a491-ef5b151dbe9b", "specversion": "1.0", "correlationid": "01a22122-f8e3-7459-a491-ef5b151dbe9b"}], "attempt": 0}', 'todo', '2046-11-28 07:56:09.90796+00', 0, false, NULL),
	(39, 'robots', 'perform', 0, NULL, NULL, '{"events": [{"id": "4c9d8c77-443e-50b5-b5b4-f7a32af67191", "data": {"job_id": "01a22122-f7cc-7247-93bf-95e919824a54", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f7cd-7714-817f-e2959effa88b", "order_id": "01a22122-f7c9-773a-8d4c-b139c70010bd"}, "time": "2026-11-28T07:51:09.574766Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f7cc-7247-93bf-95e919824a54", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f7d0-7584-a853-52cc9b2cb295", "specversion": "1.0", "correlationid": "01a22122-f7d0-7584-a853-52cc9b2cb295"}, {"id": "9a8dbd4b-d6a0-562e-ae74-f6c0d5e0014b", "data": {"job_id": "01a22122-f7cc-7247-93bf-95e919824a54", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f7ce-7536-9c90-594bcd2fce50", "order_id": "01a22122-f7ca-7b44-a495-a97b9012bea8"}, "time": "2026-11-28T07:51:09.574766Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f7cc-7247-93bf-95e919824a54", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f7d0-7584-a853-52cc9b2cb295", "specversion": "1.0", "correlationid": "01a22122-f7d0-7584-a853-52cc9b2cb295"}, {"id": "3975672a-24bd-5780-b48a-016b3dc6269d", "data": {"job_id": "01a22122-f7cc-7247-93bf-95e919824a54", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f7cf-7c9c-b361-64664439697b", "order_id": "01a22122-f7cb-78b4-a843-17369aebd06b"}, "time": "2026-11-28T07:51:09.574766Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f7cc-7247-93bf-95e919824a54", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f7d0-7584-a853-52cc9b2cb295", "specversion": "1.0", "correlationid": "01a22122-f7d0-7584-a853-52cc9b2cb295"}], "attempt": 0}', 'doing', NULL, 0, false, 28),
	(41, 'robots', 'perform', 0, NULL, NULL, '{"events": [{"id": "03fe909f-f04e-5904-95e7-68a1ef3a3963", "data": {"job_id": "01a22122-f865-713e-9738-866779cfb7c3", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f866-7c95-82fe-8549326736ac", "order_id": "01a22122-f863-72ff-826a-61ebce8f9a1d"}, "time": "2026-11-28T07:51:09.729133Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f865-713e-9738-866779cfb7c3", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f867-7245-b155-d9da866cb26e", "specversion": "1.0", "correlationid": "01a22122-f867-7245-b155-d9da866cb26e"}], "attempt": 0}', 'doing', NULL, 0, false, 30),
	(34, 'events', 'consume', 10, NULL, NULL, '{"id": "bdfd583d-64ea-52f8-940b-8202b0868721", "data": {"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "status": "success", "attempt": 0, "item_id": "01a22122-f5e1-7db6-ac48-7c4c55c5b89c", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f5e1-7db6-ac48-7c4c55c5b89c-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300011", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000011"}, "time": "2026-11-28T07:51:09.271518Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "causationid": "43db26f7-e5c9-549e-94b2-87c3e1e3a1ab", "specversion": "1.0", "correlationid": "01a22122-f5e4-7d12-8f55-9c8c37a6c547"}', 'todo', NULL, 0, false, NULL),
	(35, 'events', 'consume_parcel', 10, NULL, NULL, '{"events": [{"id": "d60ee3d1-8c57-5401-8409-bfb8343c6af6", "data": {"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "status": "success", "attempt": 0, "item_id": "01a22122-f5e2-7cb9-8dbe-832300d20f0e", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f5e2-7cb9-8dbe-832300d20f0e-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300012", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000012"}, "time": "2026-11-28T07:51:09.290864Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "causationid": "b784e3a2-8607-59ab-bfd4-1672c0bc18da", "specversion": "1.0", "correlationid": "01a22122-f5e4-7d12-8f55-9c8c37a6c547"}, {"id": "aa3ab773-5671-551b-ba24-bbd0ffbf725e", "data": {"job_id": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "status": "success", "attempt": 0, "item_id": "01a22122-f5e3-73be-9505-07e94a561dc2", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f5e3-73be-9505-07e94a561dc2-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300013", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000013"}, "time": "2026-11-28T07:51:09.290864Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "01a22122-f5de-7e7a-956f-4b527c73eb3f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "causationid": "87dd9b92-f0ec-505a-9e07-d48d15ddae69", "specversion": "1.0", "correlationid": "01a22122-f5e4-7d12-8f55-9c8c37a6c547"}], "attempt": 0}', 'todo', NULL, 0, false, NULL),
	(49, 'events', 'consume_parcel', 10, NULL, NULL, '{"events": [{"id": "01a22122-fa06-7aad-97fa-5b6280492f2b", "data": {"after": {"address": "Calle 2"}, "before": {"address": "Calle 1 # 2-3"}, "order_id": "01a22122-fa02-783e-8e09-5b59d0c07879"}, "time": "2026-11-28T07:51:10.085246Z", "type": "order/updated", "source": "tallyman/order", "subject": "01a22122-fa02-783e-8e09-5b59d0c07879", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "order/updated/1", "specversion": "1.0"}, {"id": "01a22122-fa07-784b-bd84-74e75363e39a", "data": {"after": {"address": "Calle 2"}, "before": {"address": "Calle 1 # 2-3"}, "order_id": "01a22122-fa03-7596-ad7b-4961cc8cbe9f"}, "time": "2026-11-28T07:51:10.085246Z", "type": "order/updated", "source": "tallyman/order", "subject": "01a22122-fa03-7596-ad7b-4961cc8cbe9f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "order/updated/1", "specversion": "1.0"}, {"id": "01a22122-fa08-78f0-bf22-dcc4ab848199", "data": {"after": {"address": "Calle 2"}, "before": {"address": "Calle 1 # 2-3"}, "order_id": "01a22122-fa04-7101-8af0-8d51e926b14b"}, "time": "2026-11-28T07:51:10.085246Z", "type": "order/updated", "source": "tallyman/order", "subject": "01a22122-fa04-7101-8af0-8d51e926b14b", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "order/updated/1", "specversion": "1.0"}], "attempt": 0}', 'todo', NULL, 1, false, NULL),
	(37, 'robots', 'perform', 0, NULL, NULL, '{"events": [{"id": "6df6ef0e-94ca-5380-b2a1-310b03470399", "data": {"job_id": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f714-7d09-ae03-ad1d1499b01d", "order_id": "01a22122-f70c-71f2-92b3-2398f5ba5dc8"}, "time": "2026-11-28T07:51:09.401003Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f717-774e-9a02-76e37d9c7ca7", "specversion": "1.0", "correlationid": "01a22122-f717-774e-9a02-76e37d9c7ca7"}, {"id": "d6bec320-e9b0-5847-8355-63b53fb1adb5", "data": {"job_id": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f715-70d0-8062-ee6ee2ee659e", "order_id": "01a22122-f70d-77d8-a349-2072776015c8"}, "time": "2026-11-28T07:51:09.401003Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f717-774e-9a02-76e37d9c7ca7", "specversion": "1.0", "correlationid": "01a22122-f717-774e-9a02-76e37d9c7ca7"}, {"id": "1be2df02-bf83-5a2f-a82a-713236a6d12b", "data": {"job_id": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f716-7690-bb2e-9c3a9ef44c13", "order_id": "01a22122-f70e-7482-9df8-bac6b3dd2ef5"}, "time": "2026-11-28T07:51:09.401003Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f710-73b7-9c22-50dddbe7ac1a", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f717-774e-9a02-76e37d9c7ca7", "specversion": "1.0", "correlationid": "01a22122-f717-774e-9a02-76e37d9c7ca7"}], "attempt": 0}', 'todo', NULL, 1, false, NULL),
	(48, 'events', 'consume', 10, NULL, NULL, '{"id": "06d570cf-4c30-5e15-92a8-b77b320f2013", "data": {"job_id": "01a22122-f127-74a0-93aa-168ab843c86f", "status": "success", "attempt": 0, "item_id": "01a22122-f128-7b3d-9be1-242fcc9d564d", "value_sent": {"city": "BOGOTA (C/MARCA)", "units": 1, "address": "Calle 1 # 2-3", "reference": "01a22122-f128-7b3d-9be1-242fcc9d564d-0", "weight_kg": 1.5, "recipient_name": "Recipient", "recipient_email": null, "recipient_phone": "3000000000", "recipient_document": "1020300005", "declared_value_cents": 5000000, "collect_on_delivery_cents": 0}, "validated_city": "BOGOTA (C/MARCA)", "tracking_number": "70000000006"}, "time": "2026-11-28T07:51:07.985986Z", "type": "robot/item.completed", "source": "tallyman/robot", "subject": "01a22122-f127-74a0-93aa-168ab843c86f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/item.completed/1", "causationid": "f3ffafd1-a97b-537b-a8f9-dde54927a1a3", "specversion": "1.0", "correlationid": "01a22122-f12a-7cbe-858d-4c4be8602f07"}', 'todo', NULL, 0, false, NULL),
	(46, 'robots', 'perform', 0, NULL, NULL, '{"events": [{"id": "a4a23b82-e749-5c7d-9679-88a1ee247d92", "data": {"job_id": "01a22122-f972-78b3-b4db-7fba9a899ba4", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f973-7e46-9a6c-eac33cde7239", "order_id": "01a22122-f96e-77d7-b6c9-4019ee56cbe3"}, "time": "2026-11-28T07:51:09.992545Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f972-78b3-b4db-7fba9a899ba4", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f976-73be-aa15-230f7a684afc", "specversion": "1.0", "correlationid": "01a22122-f976-73be-aa15-230f7a684afc"}, {"id": "51c5b2b5-36ed-5b33-b8df-98d4b3d82276", "data": {"job_id": "01a22122-f972-78b3-b4db-7fba9a899ba4", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f974-79b7-abae-20cfca5b6d5d", "order_id": "01a22122-f96f-7dc2-bc40-3dcfd0aecf95"}, "time": "2026-11-28T07:51:09.992545Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f972-78b3-b4db-7fba9a899ba4", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f976-73be-aa15-230f7a684afc", "specversion": "1.0", "correlationid": "01a22122-f976-73be-aa15-230f7a684afc"}, {"id": "0bfe993b-beeb-5fd0-96c3-1ddfaada8a2e", "data": {"job_id": "01a22122-f972-78b3-b4db-7fba9a899ba4", "attempt": 0, "carrier": "coordinadora", "item_id": "01a22122-f975-749f-ba17-19e53c904da0", "order_id": "01a22122-f970-7f06-b4ab-e89066a70e43"}, "time": "2026-11-28T07:51:09.992545Z", "type": "robot/item.requested", "source": "tallyman/robot", "subject": "01a22122-f972-78b3-b4db-7fba9a899ba4", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/item.requested/1", "causationid": "01a22122-f976-73be-aa15-230f7a684afc", "specversion": "1.0", "correlationid": "01a22122-f976-73be-aa15-230f7a684afc"}], "attempt": 0}', 'todo', NULL, 0, false, NULL),
	(50, 'events', 'consume', 10, NULL, NULL, '{"id": "01a22122-fa0d-7c32-b930-77bee508cff4", "data": {"after": {"address": "Calle 3"}, "before": {"address": "Calle 2"}, "order_id": "01a22122-fa02-783e-8e09-5b59d0c07879"}, "time": "2026-11-28T07:51:10.092865Z", "type": "order/updated", "source": "tallyman/order", "subject": "01a22122-fa02-783e-8e09-5b59d0c07879", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "order/updated/1", "specversion": "1.0"}', 'todo', NULL, 0, false, NULL),
	(51, 'events', 'consume', 10, NULL, NULL, '{"id": "01a22122-fa0f-7d3c-9cca-61af0ea3f7ed", "data": {"after": {"address": "Calle 3"}, "before": {"address": "Calle 2"}, "order_id": "01a22122-fa03-7596-ad7b-4961cc8cbe9f"}, "time": "2026-11-28T07:51:10.094945Z", "type": "order/updated", "source": "tallyman/order", "subject": "01a22122-fa03-7596-ad7b-4961cc8cbe9f", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "order/updated/1", "specversion": "1.0"}', 'todo', NULL, 0, false, NULL),
	(52, 'events', 'consume', 10, NULL, NULL, '{"id": "01a22122-fa15-74fc-9816-9882390b2efb", "data": {"job_id": "01a22122-fa11-72f8-a24e-2b5d07bfbb98", "carrier": "coordinadora", "item_count": 3}, "time": "2026-11-28T07:51:10.096896Z", "type": "robot/job.submitted", "source": "tallyman/robot", "subject": "01a22122-fa11-72f8-a24e-2b5d07bfbb98", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "robot/job.submitted/1", "specversion": "1.0"}', 'todo', NULL, 0, false, NULL),
	(53, 'events', 'consume', 10, NULL, NULL, '{"id": "01a22122-fa1c-75da-b461-ce31ffc6eec6", "data": {"job_id": "01a22122-fa18-781a-a36d-b128d5296f33", "carrier": "coordinadora", "item_count": 2}, "time": "2026-11-28T07:51:10.104363Z", "type": "robot/job.submitted", "source": "tallyman/robot", "subject": "01a22122-fa18-781a-a36d-b128d5296f33", "tenantid": "00000000-0000-4000-8000-000000000022", "dataschema": "robot/job.submitted/1", "specversion": "1.0"}', 'todo', NULL, 0, false, NULL),
	(54, 'events', 'consume', 1, NULL, NULL, '{"id": "01a22122-fa1d-7b7a-a967-07f698b21917", "data": {"after": {}, "before": {}, "order_id": "01a22122-fa02-783e-8e09-5b59d0c07879"}, "time": "2026-11-28T07:51:10.107474Z", "type": "order/updated", "source": "tallyman/order", "subject": "01a22122-fa02-783e-8e09-5b59d0c07879", "tenantid": "00000000-0000-4000-8000-000000000021", "dataschema": "order/updated/1", "specversion": "1.0"}', 'failed', NULL, 0, false, NULL);
INSERT INTO public.procrastinate_workers OVERRIDING SYSTEM VALUE VALUES
	(28, '2026-11-28 07:51:09.593406+00'),
	(30, '2026-11-28 07:51:09.75097+00'),
	(32, '2026-11-28 07:51:09.878586+00'),
	(34, '-infinity');
INSERT INTO tenancy.orgs VALUES
	('00000000-0000-4000-8000-000000000011', 'Example 1', '2026-11-28 07:51:06.899507+00'),
	('00000000-0000-4000-8000-000000000012', 'Example 2', '2026-11-28 07:51:06.92273+00');
INSERT INTO tenancy.workspaces VALUES
	('00000000-0000-4000-8000-000000000021', '00000000-0000-4000-8000-000000000011', 'shop 1', 'America/Bogota', '2026-11-28 07:51:06.901983+00'),
	('00000000-0000-4000-8000-000000000022', '00000000-0000-4000-8000-000000000012', 'shop 2', 'America/Bogota', '2026-11-28 07:51:06.92318+00');
SELECT pg_catalog.setval('engine.actions_id_seq', 7, true);
SELECT pg_catalog.setval('engine.rescues_id_seq', 4, true);
SELECT pg_catalog.setval('engine.sequence_position_seq', 1, false);
SELECT pg_catalog.setval('public.procrastinate_events_id_seq', 110, true);
SELECT pg_catalog.setval('public.procrastinate_jobs_id_seq', 54, true);
SELECT pg_catalog.setval('public.procrastinate_periodic_defers_id_seq', 27, true);
SELECT pg_catalog.setval('public.procrastinate_workers_id_seq', 34, true);
ALTER TABLE ONLY auth.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY engine.actions
    ADD CONSTRAINT actions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY engine.calls
    ADD CONSTRAINT calls_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY engine.event_log
    ADD CONSTRAINT event_log_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY engine.failed_jobs
    ADD CONSTRAINT failed_jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY engine.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (row_id);
ALTER TABLE ONLY engine.paused_queues
    ADD CONSTRAINT paused_queues_pkey PRIMARY KEY (queue_name);
ALTER TABLE ONLY engine.replay_plan_letters
    ADD CONSTRAINT replay_plan_letters_pkey PRIMARY KEY (plan_id, letter_id);
ALTER TABLE ONLY engine.replay_plans
    ADD CONSTRAINT replay_plans_pkey PRIMARY KEY (id);
ALTER TABLE ONLY engine.rescues
    ADD CONSTRAINT rescues_pkey PRIMARY KEY (id);
ALTER TABLE ONLY engine.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY engine.sequence
    ADD CONSTRAINT sequence_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY engine.slots
    ADD CONSTRAINT slots_pkey PRIMARY KEY (key, n);
ALTER TABLE ONLY engine.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker_id);
ALTER TABLE ONLY logistics.carrier_configs
    ADD CONSTRAINT carrier_configs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY logistics.carrier_configs
    ADD CONSTRAINT carrier_configs_workspace_id_carrier_key UNIQUE (workspace_id, carrier);
ALTER TABLE ONLY logistics.carrier_coverage
    ADD CONSTRAINT carrier_coverage_carrier_city_department_key UNIQUE (carrier, city, department);
ALTER TABLE ONLY logistics.carrier_coverage
    ADD CONSTRAINT carrier_coverage_pkey PRIMARY KEY (id);
ALTER TABLE ONLY logistics.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
ALTER TABLE ONLY logistics.orders
    ADD CONSTRAINT orders_workspace_id_reference_key UNIQUE (workspace_id, reference);
ALTER TABLE ONLY logistics.robot_job_items
    ADD CONSTRAINT robot_job_items_job_id_order_id_key UNIQUE (job_id, order_id);
ALTER TABLE ONLY logistics.robot_job_items
    ADD CONSTRAINT robot_job_items_pkey PRIMARY KEY (id);
ALTER TABLE ONLY logistics.robot_jobs
    ADD CONSTRAINT robot_jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY logistics.robot_jobs
    ADD CONSTRAINT robot_jobs_workspace_id_idempotency_key_key UNIQUE (workspace_id, idempotency_key);
ALTER TABLE ONLY public.procrastinate_events
    ADD CONSTRAINT procrastinate_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.procrastinate_jobs
    ADD CONSTRAINT procrastinate_jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_unique UNIQUE (task_name, periodic_id, defer_timestamp);
ALTER TABLE ONLY public.procrastinate_workers
    ADD CONSTRAINT procrastinate_workers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY tenancy.org_members
    ADD CONSTRAINT org_members_pkey PRIMARY KEY (org_id, user_id);
ALTER TABLE ONLY tenancy.orgs
    ADD CONSTRAINT orgs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY tenancy.workspace_members
    ADD CONSTRAINT workspace_members_pkey PRIMARY KEY (workspace_id, user_id);
ALTER TABLE ONLY tenancy.workspaces
    ADD CONSTRAINT workspaces_pkey PRIMARY KEY (id);
CREATE INDEX actions_at_idx ON engine.actions USING btree (at);
CREATE INDEX actions_subject_idx ON engine.actions USING btree (subject, id);
CREATE INDEX calls_row_id_idx ON engine.calls USING btree (row_id);
CREATE INDEX event_log_applied_at_idx ON engine.event_log USING brin (applied_at);
CREATE INDEX event_log_subject_id_idx ON engine.event_log USING btree (subject_id, applied_at);
CREATE INDEX failed_jobs_event_id_idx ON engine.failed_jobs USING btree (event_id);
CREATE INDEX failed_jobs_failed_at_idx ON engine.failed_jobs USING btree (failed_at);
CREATE INDEX failed_jobs_job_type_idx ON engine.failed_jobs USING btree (job_type);
CREATE INDEX failed_jobs_replaced_by_idx ON engine.failed_jobs USING btree (replaced_by) WHERE (replaced_by IS NOT NULL);
CREATE INDEX failed_jobs_tenant_id_idx ON engine.failed_jobs USING btree (tenant_id, failed_at);
CREATE UNIQUE INDEX failed_jobs_unresolved_event_id_key ON engine.failed_jobs USING btree (event_id) WHERE (resolved_at IS NULL);
CREATE INDEX failed_jobs_unresolved_fingerprint_idx ON engine.failed_jobs USING btree (fingerprint) WHERE (resolved_at IS NULL);
CREATE INDEX parked_key_idx ON engine.parked USING btree (key, row_id);
CREATE INDEX replay_plan_letters_letter_id_idx ON engine.replay_plan_letters USING btree (letter_id);
CREATE INDEX replay_plan_letters_open_idx ON engine.replay_plan_letters USING btree (plan_id, "position") WHERE (replayed_at IS NULL);
CREATE INDEX rescues_queue_name_at_idx ON engine.rescues USING btree (queue_name, at);
CREATE UNIQUE INDEX sequence_line_key ON engine.sequence USING btree (subject_id, type, "position");
CREATE INDEX carrier_coverage_lookup_idx ON logistics.carrier_coverage USING btree (carrier, city_key, department_key);
CREATE INDEX orders_workspace_id_id_idx ON logistics.orders USING btree (workspace_id, id);
CREATE INDEX robot_job_items_job_id_id_idx ON logistics.robot_job_items USING btree (job_id, id);
CREATE INDEX robot_job_items_order_id_idx ON logistics.robot_job_items USING btree (order_id);
CREATE INDEX robot_jobs_workspace_id_idx ON logistics.robot_jobs USING btree (workspace_id, created_at);
CREATE INDEX robot_jobs_workspace_id_status_idx ON logistics.robot_jobs USING btree (workspace_id, status);
CREATE INDEX idx_procrastinate_jobs_worker_not_null ON public.procrastinate_jobs USING btree (worker_id) WHERE ((worker_id IS NOT NULL) AND (status = 'doing'::public.procrastinate_job_status));
CREATE INDEX idx_procrastinate_workers_last_heartbeat ON public.procrastinate_workers USING btree (last_heartbeat);
CREATE INDEX procrastinate_events_job_id_fkey_v1 ON public.procrastinate_events USING btree (job_id);
CREATE INDEX procrastinate_jobs_id_lock_idx_v1 ON public.procrastinate_jobs USING btree (id, lock) WHERE (status = ANY (ARRAY['todo'::public.procrastinate_job_status, 'doing'::public.procrastinate_job_status]));
CREATE UNIQUE INDEX procrastinate_jobs_lock_idx_v1 ON public.procrastinate_jobs USING btree (lock) WHERE (status = 'doing'::public.procrastinate_job_status);
CREATE INDEX procrastinate_jobs_priority_idx_v1 ON public.procrastinate_jobs USING btree (priority DESC, id) WHERE (status = 'todo'::public.procrastinate_job_status);
CREATE INDEX procrastinate_jobs_queue_name_idx_v1 ON public.procrastinate_jobs USING btree (queue_name);
CREATE UNIQUE INDEX procrastinate_jobs_queueing_lock_idx_v1 ON public.procrastinate_jobs USING btree (queueing_lock) WHERE (status = 'todo'::public.procrastinate_job_status);
CREATE INDEX procrastinate_periodic_defers_job_id_fkey_v1 ON public.procrastinate_periodic_defers USING btree (job_id);
CREATE INDEX tallyman_jobs_in_hand_idx ON public.procrastinate_jobs USING btree (status, id) WHERE (status = ANY (ARRAY['doing'::public.procrastinate_job_status, 'failed'::public.procrastinate_job_status]));
CREATE INDEX tallyman_jobs_worker_id_idx ON public.procrastinate_jobs USING btree (worker_id) WHERE (worker_id IS NOT NULL);
CREATE INDEX org_members_user_id_idx ON tenancy.org_members USING btree (user_id);
CREATE INDEX workspace_members_user_id_idx ON tenancy.workspace_members USING btree (user_id);
CREATE INDEX workspaces_org_id_idx ON tenancy.workspaces USING btree (org_id);
CREATE TRIGGER carrier_configs_updated_at BEFORE UPDATE ON logistics.carrier_configs FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER carrier_coverage_updated_at BEFORE UPDATE ON logistics.carrier_coverage FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER orders_updated_at BEFORE UPDATE ON logistics.orders FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER robot_job_items_never_move BEFORE UPDATE OF job_id, order_id ON logistics.robot_job_items FOR EACH ROW WHEN (((old.job_id <> new.job_id) OR (old.order_id <> new.order_id))) EXECUTE FUNCTION logistics.refuse_to_move();
CREATE TRIGGER robot_job_items_one_workspace_insert AFTER INSERT ON logistics.robot_job_items REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION logistics.check_items_are_of_one_workspace();
CREATE TRIGGER robot_job_items_updated_at BEFORE UPDATE ON logistics.robot_job_items FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER robot_jobs_progress_insert AFTER INSERT ON logistics.robot_jobs REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION engine.notify_progress();
CREATE TRIGGER robot_jobs_progress_update AFTER UPDATE ON logistics.robot_jobs REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION engine.notify_progress();
CREATE TRIGGER robot_jobs_updated_at BEFORE UPDATE ON logistics.robot_jobs FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1 AFTER UPDATE OF abort_requested ON public.procrastinate_jobs FOR EACH ROW WHEN (((old.abort_requested = false) AND (new.abort_requested = true) AND (new.status = 'doing'::public.procrastinate_job_status))) EXECUTE FUNCTION public.procrastinate_notify_queue_abort_job_v1();
CREATE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 AFTER INSERT ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.status = 'todo'::public.procrastinate_job_status)) EXECUTE FUNCTION public.procrastinate_notify_queue_job_inserted_v1();
CREATE TRIGGER procrastinate_trigger_abort_requested_events_v1 AFTER UPDATE OF abort_requested ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.abort_requested = true)) EXECUTE FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1();
CREATE TRIGGER procrastinate_trigger_delete_jobs_v1 BEFORE DELETE ON public.procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION public.procrastinate_unlink_periodic_defers_v1();
CREATE TRIGGER procrastinate_trigger_scheduled_events_v1 AFTER INSERT OR UPDATE ON public.procrastinate_jobs FOR EACH ROW WHEN (((new.scheduled_at IS NOT NULL) AND (new.status = 'todo'::public.procrastinate_job_status))) EXECUTE FUNCTION public.procrastinate_trigger_function_scheduled_events_v1();
CREATE TRIGGER procrastinate_trigger_status_events_insert_v1 AFTER INSERT ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.status = 'todo'::public.procrastinate_job_status)) EXECUTE FUNCTION public.procrastinate_trigger_function_status_events_insert_v1();
CREATE TRIGGER procrastinate_trigger_status_events_update_v1 AFTER UPDATE OF status ON public.procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION public.procrastinate_trigger_function_status_events_update_v1();
ALTER TABLE ONLY engine.replay_plan_letters
    ADD CONSTRAINT replay_plan_letters_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES engine.failed_jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY engine.replay_plan_letters
    ADD CONSTRAINT replay_plan_letters_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES engine.replay_plans(id) ON DELETE CASCADE;
ALTER TABLE ONLY logistics.carrier_configs
    ADD CONSTRAINT carrier_configs_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES tenancy.workspaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY logistics.orders
    ADD CONSTRAINT orders_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES tenancy.workspaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY logistics.robot_job_items
    ADD CONSTRAINT robot_job_items_job_id_fkey FOREIGN KEY (job_id) REFERENCES logistics.robot_jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY logistics.robot_job_items
    ADD CONSTRAINT robot_job_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES logistics.orders(id) ON DELETE CASCADE;
ALTER TABLE ONLY logistics.robot_jobs
    ADD CONSTRAINT robot_jobs_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES tenancy.workspaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.procrastinate_events
    ADD CONSTRAINT procrastinate_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.procrastinate_jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.procrastinate_jobs
    ADD CONSTRAINT procrastinate_jobs_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.procrastinate_workers(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.procrastinate_jobs(id);
ALTER TABLE ONLY tenancy.org_members
    ADD CONSTRAINT org_members_org_id_fkey FOREIGN KEY (org_id) REFERENCES tenancy.orgs(id) ON DELETE CASCADE;
ALTER TABLE ONLY tenancy.org_members
    ADD CONSTRAINT org_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY tenancy.workspace_members
    ADD CONSTRAINT workspace_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY tenancy.workspace_members
    ADD CONSTRAINT workspace_members_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES tenancy.workspaces(id) ON DELETE CASCADE;
ALTER TABLE ONLY tenancy.workspaces
    ADD CONSTRAINT workspaces_org_id_fkey FOREIGN KEY (org_id) REFERENCES tenancy.orgs(id) ON DELETE CASCADE;
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY users_service ON auth.users TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.actions ENABLE ROW LEVEL SECURITY;
CREATE POLICY actions_service_insert ON engine.actions FOR INSERT TO service_role WITH CHECK (true);
CREATE POLICY actions_service_select ON engine.actions FOR SELECT TO service_role USING (true);
ALTER TABLE engine.calls ENABLE ROW LEVEL SECURITY;
CREATE POLICY calls_service ON engine.calls TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.event_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY event_log_service ON engine.event_log TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.failed_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY failed_jobs_service ON engine.failed_jobs TO service_role USING (true) WITH CHECK (true);
CREATE POLICY owner_does_all ON engine.schema_migrations TO tallyman_owner USING (true) WITH CHECK (true);
ALTER TABLE engine.parked ENABLE ROW LEVEL SECURITY;
CREATE POLICY parked_service ON engine.parked TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.paused_queues ENABLE ROW LEVEL SECURITY;
CREATE POLICY paused_queues_service ON engine.paused_queues TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.replay_plan_letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY replay_plan_letters_service ON engine.replay_plan_letters TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.replay_plans ENABLE ROW LEVEL SECURITY;
CREATE POLICY replay_plans_service ON engine.replay_plans TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.rescues ENABLE ROW LEVEL SECURITY;
CREATE POLICY rescues_service ON engine.rescues TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.schema_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.sequence ENABLE ROW LEVEL SECURITY;
CREATE POLICY sequence_service ON engine.sequence TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service_reads ON engine.schema_migrations FOR SELECT TO service_role USING (true);
ALTER TABLE engine.slots ENABLE ROW LEVEL SECURITY;
CREATE POLICY slots_service ON engine.slots TO service_role USING (true) WITH CHECK (true);
ALTER TABLE engine.workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY workers_service ON engine.workers TO service_role USING (true) WITH CHECK (true);
ALTER TABLE logistics.carrier_configs ENABLE ROW LEVEL SECURITY;
CREATE POLICY carrier_configs_admin_delete ON logistics.carrier_configs FOR DELETE TO authenticated USING (tenancy.is_workspace_admin(workspace_id));
CREATE POLICY carrier_configs_admin_insert ON logistics.carrier_configs FOR INSERT TO authenticated WITH CHECK (tenancy.is_workspace_admin(workspace_id));
CREATE POLICY carrier_configs_admin_update ON logistics.carrier_configs FOR UPDATE TO authenticated USING (tenancy.is_workspace_admin(workspace_id)) WITH CHECK (tenancy.is_workspace_admin(workspace_id));
CREATE POLICY carrier_configs_member_select ON logistics.carrier_configs FOR SELECT TO authenticated USING (tenancy.is_workspace_member(workspace_id));
CREATE POLICY carrier_configs_service ON logistics.carrier_configs TO service_role USING (true) WITH CHECK (true);
ALTER TABLE logistics.carrier_coverage ENABLE ROW LEVEL SECURITY;
CREATE POLICY carrier_coverage_select ON logistics.carrier_coverage FOR SELECT TO authenticated USING (true);
CREATE POLICY carrier_coverage_service ON logistics.carrier_coverage TO service_role USING (true) WITH CHECK (true);
ALTER TABLE logistics.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY orders_member_select ON logistics.orders FOR SELECT TO authenticated USING (tenancy.is_workspace_member(workspace_id));
CREATE POLICY orders_service ON logistics.orders TO service_role USING (true) WITH CHECK (true);
ALTER TABLE logistics.robot_job_items ENABLE ROW LEVEL SECURITY;
CREATE POLICY robot_job_items_member_select ON logistics.robot_job_items FOR SELECT TO authenticated USING ((EXISTS ( SELECT
   FROM logistics.robot_jobs j
  WHERE ((j.id = robot_job_items.job_id) AND tenancy.is_workspace_member(j.workspace_id)))));
CREATE POLICY robot_job_items_service ON logistics.robot_job_items TO service_role USING (true) WITH CHECK (true);
ALTER TABLE logistics.robot_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY robot_jobs_member_insert ON logistics.robot_jobs FOR INSERT TO authenticated WITH CHECK (tenancy.is_workspace_member(workspace_id));
CREATE POLICY robot_jobs_member_select ON logistics.robot_jobs FOR SELECT TO authenticated USING (tenancy.is_workspace_member(workspace_id));
CREATE POLICY robot_jobs_member_update ON logistics.robot_jobs FOR UPDATE TO authenticated USING (tenancy.is_workspace_member(workspace_id)) WITH CHECK (tenancy.is_workspace_member(workspace_id));
CREATE POLICY robot_jobs_service ON logistics.robot_jobs TO service_role USING (true) WITH CHECK (true);
ALTER TABLE public.procrastinate_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY procrastinate_events_service ON public.procrastinate_events TO service_role USING (true) WITH CHECK (true);
ALTER TABLE public.procrastinate_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY procrastinate_jobs_service ON public.procrastinate_jobs TO service_role USING (true) WITH CHECK (true);
ALTER TABLE public.procrastinate_periodic_defers ENABLE ROW LEVEL SECURITY;
CREATE POLICY procrastinate_periodic_defers_service ON public.procrastinate_periodic_defers TO service_role USING (true) WITH CHECK (true);
ALTER TABLE public.procrastinate_workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY procrastinate_workers_service ON public.procrastinate_workers TO service_role USING (true) WITH CHECK (true);
ALTER TABLE tenancy.org_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY org_members_definer ON tenancy.org_members FOR SELECT TO tallyman_owner USING (true);
CREATE POLICY org_members_member_select ON tenancy.org_members FOR SELECT TO authenticated USING (tenancy.is_org_member(org_id));
CREATE POLICY org_members_service ON tenancy.org_members TO service_role USING (true) WITH CHECK (true);
ALTER TABLE tenancy.orgs ENABLE ROW LEVEL SECURITY;
CREATE POLICY orgs_member_select ON tenancy.orgs FOR SELECT TO authenticated USING (tenancy.is_org_member(id));
CREATE POLICY orgs_service ON tenancy.orgs TO service_role USING (true) WITH CHECK (true);
ALTER TABLE tenancy.workspace_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY workspace_members_definer ON tenancy.workspace_members FOR SELECT TO tallyman_owner USING (true);
CREATE POLICY workspace_members_member_select ON tenancy.workspace_members FOR SELECT TO authenticated USING (tenancy.is_workspace_member(workspace_id));
CREATE POLICY workspace_members_service ON tenancy.workspace_members TO service_role USING (true) WITH CHECK (true);
ALTER TABLE tenancy.workspaces ENABLE ROW LEVEL SECURITY;
CREATE POLICY workspaces_member_select ON tenancy.workspaces FOR SELECT TO authenticated USING (tenancy.is_workspace_member(id));
CREATE POLICY workspaces_service ON tenancy.workspaces TO service_role USING (true) WITH CHECK (true);
CREATE PUBLICATION supabase_realtime WITH (publish = 'insert, update, delete, truncate');
ALTER PUBLICATION supabase_realtime ADD TABLE ONLY logistics.robot_job_items;
GRANT USAGE ON SCHEMA auth TO anon;
GRANT USAGE ON SCHEMA auth TO authenticated;
GRANT USAGE ON SCHEMA auth TO service_role;
GRANT USAGE ON SCHEMA engine TO service_role;
GRANT USAGE ON SCHEMA logistics TO authenticated;
GRANT USAGE ON SCHEMA logistics TO service_role;
GRANT USAGE ON SCHEMA tenancy TO anon;
GRANT USAGE ON SCHEMA tenancy TO authenticated;
GRANT USAGE ON SCHEMA tenancy TO service_role;
REVOKE ALL ON FUNCTION engine.call_next(p_type text, p_subject uuid, p_queue text, p_priority integer, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.call_next(p_type text, p_subject uuid, p_queue text, p_priority integer, p_most integer) TO service_role;
REVOKE ALL ON FUNCTION engine.claim(p_row_id bigint, p_attempts integer, p_worker_id bigint, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.claim(p_row_id bigint, p_attempts integer, p_worker_id bigint, p_limit integer) TO service_role;
REVOKE ALL ON FUNCTION engine.is_live(p_row_id bigint, p_attempts integer, p_worker_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.is_live(p_row_id bigint, p_attempts integer, p_worker_id bigint) TO service_role;
REVOKE ALL ON FUNCTION engine.lock_lines(p_types text[], p_subjects uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.lock_lines(p_types text[], p_subjects uuid[]) TO service_role;
REVOKE ALL ON FUNCTION engine.notify_progress() FROM PUBLIC;
GRANT ALL ON FUNCTION engine.notify_progress() TO service_role;
REVOKE ALL ON FUNCTION engine.release(p_events uuid[], p_queue text, p_priority integer, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.release(p_events uuid[], p_queue text, p_priority integer, p_most integer) TO service_role;
REVOKE ALL ON FUNCTION engine.take_slots(p_key text, p_most integer, p_wanted integer, p_row_id bigint, p_attempts integer, p_worker_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.take_slots(p_key text, p_most integer, p_wanted integer, p_row_id bigint, p_attempts integer, p_worker_id bigint) TO service_role;
REVOKE ALL ON FUNCTION engine.take_turns(p_events jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.take_turns(p_events jsonb) TO service_role;
REVOKE ALL ON FUNCTION engine.wake_parked(p_key text, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION engine.wake_parked(p_key text, p_most integer) TO service_role;
REVOKE ALL ON FUNCTION logistics.check_items_are_of_one_workspace() FROM PUBLIC;
REVOKE ALL ON FUNCTION logistics.place_key(p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION logistics.place_key(p_name text) TO authenticated;
GRANT ALL ON FUNCTION logistics.place_key(p_name text) TO service_role;
REVOKE ALL ON FUNCTION logistics.refuse_to_move() FROM PUBLIC;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_jobs TO service_role;
REVOKE ALL ON FUNCTION tenancy.is_org_admin(p_org_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION tenancy.is_org_admin(p_org_id uuid) TO authenticated;
GRANT ALL ON FUNCTION tenancy.is_org_admin(p_org_id uuid) TO service_role;
REVOKE ALL ON FUNCTION tenancy.is_org_member(p_org_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION tenancy.is_org_member(p_org_id uuid) TO authenticated;
GRANT ALL ON FUNCTION tenancy.is_org_member(p_org_id uuid) TO service_role;
REVOKE ALL ON FUNCTION tenancy.is_workspace_admin(p_workspace_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION tenancy.is_workspace_admin(p_workspace_id uuid) TO authenticated;
GRANT ALL ON FUNCTION tenancy.is_workspace_admin(p_workspace_id uuid) TO service_role;
REVOKE ALL ON FUNCTION tenancy.is_workspace_member(p_workspace_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION tenancy.is_workspace_member(p_workspace_id uuid) TO authenticated;
GRANT ALL ON FUNCTION tenancy.is_workspace_member(p_workspace_id uuid) TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE auth.users TO service_role;
GRANT SELECT,INSERT ON TABLE engine.actions TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.calls TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.event_log TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.failed_jobs TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.parked TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.paused_queues TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.replay_plan_letters TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.replay_plans TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.rescues TO service_role;
GRANT SELECT ON TABLE engine.schema_migrations TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.sequence TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.slots TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE engine.workers TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE logistics.carrier_configs TO service_role;
GRANT DELETE ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(id),INSERT(id) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(workspace_id),INSERT(workspace_id) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(carrier),INSERT(carrier) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(portal_username),INSERT(portal_username),UPDATE(portal_username) ON TABLE logistics.carrier_configs TO authenticated;
GRANT INSERT(portal_password),UPDATE(portal_password) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(is_enabled),INSERT(is_enabled),UPDATE(is_enabled) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(portal_url) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(max_sessions) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(has_password) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(created_at) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT(updated_at) ON TABLE logistics.carrier_configs TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE logistics.carrier_coverage TO service_role;
GRANT SELECT ON TABLE logistics.carrier_coverage TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE logistics.orders TO service_role;
GRANT SELECT ON TABLE logistics.orders TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE logistics.robot_job_items TO service_role;
GRANT SELECT ON TABLE logistics.robot_job_items TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE logistics.robot_jobs TO service_role;
GRANT SELECT ON TABLE logistics.robot_jobs TO authenticated;
GRANT INSERT(id) ON TABLE logistics.robot_jobs TO authenticated;
GRANT INSERT(workspace_id) ON TABLE logistics.robot_jobs TO authenticated;
GRANT INSERT(carrier),UPDATE(carrier) ON TABLE logistics.robot_jobs TO authenticated;
GRANT INSERT(idempotency_key),UPDATE(idempotency_key) ON TABLE logistics.robot_jobs TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_events TO service_role;
GRANT USAGE ON SEQUENCE public.procrastinate_events_id_seq TO service_role;
GRANT USAGE ON SEQUENCE public.procrastinate_jobs_id_seq TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_periodic_defers TO service_role;
GRANT USAGE ON SEQUENCE public.procrastinate_periodic_defers_id_seq TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_workers TO service_role;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE tenancy.org_members TO service_role;
GRANT SELECT ON TABLE tenancy.org_members TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE tenancy.orgs TO service_role;
GRANT SELECT ON TABLE tenancy.orgs TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE tenancy.workspace_members TO service_role;
GRANT SELECT ON TABLE tenancy.workspace_members TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE tenancy.workspaces TO service_role;
GRANT SELECT ON TABLE tenancy.workspaces TO authenticated;
