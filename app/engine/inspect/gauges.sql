-- The state of the queue, as rows (name, queue, type, state, value). The cost is bounded at any length of the queue: of
-- each queue, and of the delayed rows, at most %(most)s rows are read, and those rows are opened that together take at
-- most %(bytes)s stored bytes. Beyond that the counts are lower bounds, and `capped` is 1.
--
-- The caller allows only indexes and no sort. A range `>= x AND <= x` in the order of an index leaves one plan, whatever
-- the statistics say; an equality would let the planner choose an index of all queues.
WITH queues AS MATERIALIZED (
    SELECT q.name FROM unnest(%(queues)s::text[]) AS q (name)
), listed AS (
    SELECT 'queue' AS place, 'due' AS state, q.name AS queue, r.*
      FROM queues q CROSS JOIN LATERAL (
           SELECT j.id, j.scheduled_at AS due_at, j.task_name::text AS task_name, j.args,
                  sum(pg_column_size(j.args)) OVER (ROWS UNBOUNDED PRECEDING) <= %(bytes)s AS is_open
             FROM public.procrastinate_jobs j
            WHERE j.queue_name >= q.name AND j.queue_name <= q.name AND j.status = 'todo'
            ORDER BY j.queue_name LIMIT %(most)s) r
    UNION ALL
    SELECT 'delayed', CASE WHEN r.key IS NOT NULL THEN 'parked' WHEN r.due_at <= now() THEN 'due' ELSE 'later' END,
           r.queue_name, r.id, r.due_at, r.task_name, r.args, r.is_open
      FROM (SELECT d.*, sum(pg_column_size(d.args)) OVER (ROWS UNBOUNDED PRECEDING) <= %(bytes)s AS is_open
              FROM engine.delayed d ORDER BY d.due_at LIMIT %(most)s) r
), opened AS MATERIALIZED (
    SELECT l.place, l.state, l.queue, l.id, l.due_at, l.is_open, e.type, e.events
      FROM listed l LEFT JOIN LATERAL engine.types_of_row(l.task_name, CASE WHEN l.is_open THEN l.args END) e ON true
), first AS MATERIALIZED (
    -- The oldest rows of all queues, by the priority of events and of effects: of a queue whose rows were not all read.
    SELECT f.queue_name::text AS queue, min(f.id) AS id
      FROM unnest(%(priorities)s::integer[]) AS p (priority) CROSS JOIN LATERAL (
           SELECT j.queue_name, j.id FROM public.procrastinate_jobs j
            WHERE j.status = 'todo' AND j.priority >= p.priority AND j.priority <= p.priority
            ORDER BY j.priority DESC, j.id LIMIT %(oldest)s) f
     GROUP BY f.queue_name
), workers AS MATERIALIZED (
    SELECT w.queues, p.last_heartbeat < now() - %(stalled_after)s * interval '1 second'
                     OR p.id IN (SELECT g.worker_id FROM engine.gone_workers() g) AS is_stalled
      FROM public.procrastinate_workers p JOIN engine.workers w ON w.worker_id = p.id
)
SELECT 'waiting' AS name, o.queue, o.type, o.state, sum(o.events)::double precision AS value
  FROM opened o WHERE o.events IS NOT NULL GROUP BY o.queue, o.type, o.state
UNION ALL
SELECT 'capped', NULL, NULL, s.place, (EXISTS (SELECT FROM opened o WHERE o.place = s.place AND NOT o.is_open)
       OR EXISTS (SELECT FROM opened o WHERE o.place = s.place GROUP BY CASE o.place WHEN 'queue' THEN o.queue END
                  HAVING count(DISTINCT o.id) >= %(most)s))::integer
  FROM (VALUES ('queue'), ('delayed')) AS s (place)
UNION ALL
SELECT 'rows', NULL, NULL, t.place, pg_stat_get_live_tuples(t.name)
  FROM (VALUES ('queue', 'public.procrastinate_jobs'::regclass), ('delayed', 'engine.delayed'::regclass)) AS t (place, name)
UNION ALL
SELECT 'oldest', q.name, NULL, NULL, coalesce(extract(epoch FROM now() - least(o.due_at, (
       SELECT min(e.at) FROM public.procrastinate_events e
        WHERE e.job_id = least(o.id, f.id) AND e.type = 'deferred'))), 0)
  FROM queues q LEFT JOIN first f ON f.queue = q.name LEFT JOIN (
       SELECT r.queue, min(r.id) FILTER (WHERE r.due_at IS NULL) AS id, min(r.due_at) AS due_at
         FROM opened r WHERE r.state = 'due' GROUP BY r.queue) o ON o.queue = q.name
UNION ALL
SELECT 'in_hand', q.name, NULL, NULL, (
       SELECT count(*) FROM public.procrastinate_jobs j
        WHERE j.id = ANY (ARRAY(SELECT d.id FROM public.procrastinate_jobs d WHERE d.status = 'doing'))
          AND j.queue_name = q.name)
  FROM queues q
UNION ALL
SELECT 'paused', q.name, NULL, NULL, EXISTS (SELECT FROM engine.paused_queues p WHERE p.queue_name = q.name)::integer
  FROM queues q
UNION ALL
SELECT 'serving', q.name, NULL, NULL, (
       SELECT count(*) FROM workers w WHERE NOT w.is_stalled AND (w.queues IS NULL OR q.name = ANY (w.queues)))
  FROM queues q
UNION ALL
SELECT 'workers', NULL, NULL, s.state, (SELECT count(*) FROM workers w WHERE w.is_stalled = (s.state = 'stalled'))
  FROM (VALUES ('live'), ('stalled')) AS s (state)
UNION ALL
SELECT 'dead', NULL, d.job_type, NULL, count(*)
  FROM (SELECT f.job_type FROM engine.failed_jobs f WHERE f.resolved_at IS NULL LIMIT %(most)s) d GROUP BY d.job_type
