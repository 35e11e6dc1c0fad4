"""What is true of robot jobs at every commit, each as the query for what would contradict it."""

from __future__ import annotations

from app.engine.inspect.invariants import Invariant

LOGISTICS = (
    Invariant(
        "robot jobs: the counters equal the items",
        """
        SELECT j.id AS job_id, j.total_items, j.success_count, j.error_count, i.total, i.success, i.error
          FROM logistics.robot_jobs j
          LEFT JOIN (SELECT job_id, count(*) AS total, count(*) FILTER (WHERE status = 'success') AS success,
                            count(*) FILTER (WHERE status = 'error') AS error
                       FROM logistics.robot_job_items GROUP BY job_id) i ON i.job_id = j.id
         WHERE (j.total_items, j.success_count, j.error_count)
               IS DISTINCT FROM (coalesce(i.total, 0), coalesce(i.success, 0), coalesce(i.error, 0))
        """,
    ),
    Invariant(
        "robot jobs: success and error are within the total",
        """
        SELECT id AS job_id, total_items, success_count, error_count FROM logistics.robot_jobs
         WHERE success_count < 0 OR error_count < 0 OR success_count + error_count > total_items
        """,
    ),
    Invariant(
        "robot jobs: ended if and only if every item has a result",
        """
        SELECT id AS job_id, status, total_items, success_count, error_count FROM logistics.robot_jobs
         WHERE total_items > 0
           AND (status IN ('completed', 'failed')) <> (success_count + error_count = total_items)
        """,
    ),
    Invariant(
        "robot jobs: failed if and only if nothing succeeded",
        """
        SELECT id AS job_id, status, success_count FROM logistics.robot_jobs
         WHERE (status = 'failed' AND success_count > 0) OR (status = 'completed' AND success_count = 0)
        """,
    ),
    Invariant(
        "robot jobs: completed once a generation",
        """
        SELECT subject_id AS job_id, data->>'generation' AS generation, count(*) AS completions FROM engine.event_log
         WHERE type = 'robot/job.completed' GROUP BY 1, 2 HAVING count(*) > 1
        """,
    ),
    Invariant(
        "robot jobs: what has ended has said so",
        """
        SELECT j.id AS job_id, j.generation, j.completed_at FROM logistics.robot_jobs j
         WHERE j.status IN ('completed', 'failed') AND j.total_items > 0
           AND j.completed_at BETWEEN now() - interval '7 days' AND now() - interval '10 minutes'
           AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.subject_id = j.id
                              AND l.type = 'robot/job.completed' AND (l.data->>'generation')::integer = j.generation)
           AND NOT EXISTS (SELECT FROM engine.failed_jobs f WHERE f.job_type = 'robot/job.completed'
                              AND f.event_data->'data'->>'job_id' = j.id::text)
           AND NOT EXISTS (SELECT FROM engine.waiting() q
                            WHERE q.queue_name = 'events' AND q.status IN ('todo', 'doing'))
        """,
    ),
    Invariant(
        "robot jobs: one successful call an item",
        """
        SELECT (l.data->>'item_id')::uuid AS item_id, array_agg(DISTINCT l.data->>'tracking_number') AS tracking_numbers
          FROM engine.event_log l JOIN engine.event_log asked ON asked.event_id = l.causation_id
         WHERE l.type = 'robot/item.completed' AND l.data->>'status' = 'success' AND asked.type = 'robot/item.requested'
         GROUP BY 1 HAVING count(DISTINCT l.data->>'tracking_number') > 1
        """,
    ),
    Invariant(
        "robot jobs: no item succeeded past a call in doubt",
        """
        SELECT (l.data->>'item_id')::uuid AS item_id, c.event_id AS in_doubt, l.causation_id AS succeeded
          FROM engine.calls c
          JOIN engine.failed_jobs f ON f.event_id = c.event_id AND f.job_type = 'robot/item.requested'
          JOIN engine.event_log l ON l.type = 'robot/item.completed' AND l.data->>'status' = 'success'
               AND l.subject_id::text = f.event_data->'data'->>'job_id'
               AND l.data->>'item_id' = f.event_data->'data'->>'item_id'
               AND l.data->'attempt' = f.event_data->'data'->'attempt'
          JOIN engine.event_log asked ON asked.event_id = l.causation_id AND asked.type = 'robot/item.requested'
         WHERE asked.event_id <> c.event_id
        """,
    ),
    Invariant(
        "robot jobs: one job a workspace and idempotency key",
        """
        SELECT workspace_id, idempotency_key, count(*) AS jobs FROM logistics.robot_jobs
         WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        """,
    ),
    Invariant(
        "robot jobs: no item ties an order to another workspace's job",
        """
        SELECT i.id AS item_id, i.job_id, i.order_id FROM logistics.robot_job_items i
          JOIN logistics.robot_jobs j ON j.id = i.job_id JOIN logistics.orders o ON o.id = i.order_id
         WHERE j.workspace_id <> o.workspace_id
        """,
    ),
    Invariant(
        "robot jobs: status and timestamps agree",
        """
        SELECT id AS job_id, NULL::uuid AS item_id, status FROM logistics.robot_jobs
         WHERE (status IN ('completed', 'failed')) <> (completed_at IS NOT NULL)
            OR (status = 'pending' AND started_at IS NOT NULL) OR (status <> 'pending' AND started_at IS NULL)
        UNION ALL
        SELECT job_id, id, status FROM logistics.robot_job_items
         WHERE (status IN ('success', 'error')) <> (completed_at IS NOT NULL)
            OR (status = 'success') <> (tracking_number IS NOT NULL)
            OR (status = 'error') <> (error_type IS NOT NULL)
        """,
    ),
    Invariant(
        "carriers: no password is stored plain",
        "SELECT id AS carrier_config_id FROM logistics.carrier_configs WHERE portal_password NOT LIKE 'sealed:%'",
    ),
)
