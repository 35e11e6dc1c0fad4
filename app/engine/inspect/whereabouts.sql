-- Where the events are that match a pattern and are not applied yet. One row for each way to wait:
-- a queue and a state in it, and within it a worker, a lane or a class of error.
--
-- `rows` is materialised with the ids alone: arguments are large, and whatever reads them twice
-- decompresses them twice, for each of their events.
WITH rows AS MATERIALIZED (
    SELECT j.row_id AS id, j.queue_name, j.due_at, j.worker_id, j.key, j.parked_at, j.error,
           coalesce(j.attempt, 0) AS attempt,
           CASE WHEN j.status = 'failed' THEN 'failed'
                WHEN j.status = 'doing' THEN 'in_hand'
                WHEN (j.place = 'delayed' OR j.due_at > now()) AND j.key IS NOT NULL THEN 'parked'
                WHEN j.place = 'delayed' OR j.due_at > now() THEN 'put_back'
                ELSE 'waiting' END AS state,
           (SELECT array_agg(e ->> 'id') FROM jsonb_array_elements(j.events) e WHERE e @> %(pattern)s) AS ids
      FROM engine.queue_rows j
     WHERE j.events @> jsonb_build_array(%(pattern)s::jsonb)
       AND (j.place = 'delayed' OR engine.is_ours(j.task_name, j.queue_name, %(queues)s::text[]))
), doubts AS MATERIALIZED (
    SELECT c.event_id::text AS id, c.begun_at, c.tries FROM engine.calls c
     WHERE NOT engine.is_live(c.row_id, c.attempts, c.worker_id)
), groups AS (
    SELECT r.state, r.queue_name AS queue, count(*) AS events, min(r.id) AS row_id,
           CASE WHEN r.state = 'in_hand' THEN r.worker_id END AS worker_id, min(r.due_at) AS until,
           max(r.due_at) AS last_until, max(r.attempt)::integer AS attempt, max(r.error) AS error,
           CASE WHEN r.state = 'parked' THEN r.key END AS key, min(r.parked_at) AS parked_at,
           count(d.id) AS doubtful, min(d.id)::uuid AS doubtful_id, min(d.begun_at) AS begun_at, max(d.tries) AS tries
      FROM rows r CROSS JOIN LATERAL unnest(r.ids) AS event (id) LEFT JOIN doubts d ON d.id = event.id
     GROUP BY r.state, r.queue_name, CASE WHEN r.state = 'in_hand' THEN r.worker_id END,
              CASE WHEN r.state = 'parked' THEN r.key END, split_part(r.error, ':', 1)
)
SELECT g.*, (SELECT max(e.at) FROM public.procrastinate_events e WHERE e.job_id = g.row_id AND e.type = 'started') AS since
  FROM groups g
 ORDER BY events DESC, row_id
 LIMIT 100
