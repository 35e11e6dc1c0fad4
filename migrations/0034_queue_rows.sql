-- What a queue row's arguments mean, for SQL that looks inside them: one view, so that the format is known in two places,
-- here and in app/engine/queue/envelope.py. engine.waiting() is the same rows by the tasks and queues of a program.
CREATE OR REPLACE VIEW engine.queue_rows WITH (security_invoker = true) AS
SELECT r.place, r.row_id, r.queue_name, r.task_name, r.priority, r.args, r.status, r.attempts, r.worker_id, r.due_at,
       r.key, r.parked_at,
       CASE WHEN jsonb_typeof(e.listed) = 'array' THEN e.listed ELSE jsonb_build_array(r.args) END AS events,
       CASE WHEN e.listed IS NOT NULL AND jsonb_typeof(r.args -> 'attempt') = 'number'
            THEN (r.args ->> 'attempt')::numeric END AS attempt,
       CASE WHEN e.listed IS NOT NULL THEN r.args ->> 'error' END AS error,
       CASE WHEN e.listed IS NOT NULL THEN r.args ->> 'share' END AS share
  FROM (SELECT 'queue' AS place, j.id AS row_id, j.queue_name::text AS queue_name, j.task_name::text AS task_name,
               j.priority, j.args, j.status::text AS status, j.attempts, j.worker_id, j.scheduled_at AS due_at,
               p.key, p.parked_at
          FROM public.procrastinate_jobs j LEFT JOIN engine.parked p ON p.row_id = j.id
         WHERE j.status IN ('todo', 'doing', 'failed')
        UNION ALL
        SELECT 'delayed', d.id, d.queue_name, d.task_name, d.priority, d.args, 'todo', 0, NULL, d.due_at, d.key,
               CASE WHEN d.key IS NOT NULL THEN d.created_at END
          FROM engine.delayed d) r
       CROSS JOIN LATERAL (SELECT r.args -> 'events' AS listed) e;

COMMENT ON VIEW engine.queue_rows IS
    'Every row that is not at its end, of any program: in the queue (todo, doing, failed) and delayed (todo), opened.';
COMMENT ON COLUMN engine.queue_rows.due_at IS 'Null: it is due.';
COMMENT ON COLUMN engine.queue_rows.key IS 'The limit that the row is parked for.';
COMMENT ON COLUMN engine.queue_rows.events IS 'The events of the row, as JSON array; whatever stands in the row if it is no event.';
COMMENT ON COLUMN engine.queue_rows.attempt IS 'How often its events were tried before. Null: an event that was not.';
COMMENT ON COLUMN engine.queue_rows.error IS 'The error that brought it back.';
COMMENT ON COLUMN engine.queue_rows.share IS 'The share of deliveries that it says it belongs to (see engine.share).';

REVOKE ALL ON engine.queue_rows FROM PUBLIC;
GRANT SELECT ON engine.queue_rows TO service_role;

CREATE OR REPLACE FUNCTION engine.waiting(p_queues text[] DEFAULT '{}')
RETURNS TABLE (place text, row_id bigint, queue_name text, task_name text, priority integer, args jsonb, status text,
               attempts integer, worker_id bigint, due_at timestamptz, key text, parked_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT r.place, r.row_id, r.queue_name, r.task_name, r.priority, r.args, r.status, r.attempts, r.worker_id, r.due_at,
           r.key, r.parked_at
      FROM engine.queue_rows r WHERE r.place = 'delayed' OR engine.is_ours(r.task_name, r.queue_name, p_queues)
$$;
