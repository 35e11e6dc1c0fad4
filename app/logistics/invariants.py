"""Invariants of robot jobs and carriers. Each is a query for rows that violate it."""

from __future__ import annotations

from app.engine.domain import Invariant

LOGISTICS = (
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
        "robot jobs: no item ties an order to another workspace's job",
        """
        SELECT i.id AS item_id, i.job_id, i.order_id FROM logistics.robot_job_items i
          JOIN logistics.robot_jobs j ON j.id = i.job_id JOIN logistics.orders o ON o.id = i.order_id
         WHERE j.workspace_id <> o.workspace_id
        """,
    ),
    Invariant(
        "carriers: no password is stored plain",
        "SELECT id AS carrier_config_id FROM logistics.carrier_configs WHERE portal_password NOT LIKE 'sealed:%'",
    ),
    Invariant(
        "robot jobs: tracking numbers and successes agree",
        """
        SELECT job_id, id AS item_id, status FROM logistics.robot_job_items
         WHERE (status = 'success') <> (tracking_number IS NOT NULL)
        """,
    ),
)
