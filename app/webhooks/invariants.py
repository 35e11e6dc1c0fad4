"""Invariants of webhooks, for `audit`. Each is a query for rows that violate it; they hold at every commit."""

from __future__ import annotations

from typing import LiteralString

from app.engine.domain import Invariant

_INVARIANTS: dict[str, LiteralString] = {
    "an open delivery has its request or its result": """
        WITH present AS MATERIALIZED (
            SELECT e -> 'data' ->> 'delivery_id' AS delivery_id
              FROM engine.queue_rows q CROSS JOIN LATERAL jsonb_array_elements(q.events) e
             WHERE starts_with(e ->> 'type', 'webhook/delivery.')
             UNION ALL
            SELECT f.event_data -> 'data' ->> 'delivery_id'
              FROM engine.failed_jobs f WHERE f.resolved_at IS NULL AND starts_with(f.job_type, 'webhook/delivery.'))
        SELECT d.id AS delivery_id, d.endpoint_id, d.status FROM webhooks.deliveries d
         WHERE d.status IN ('pending', 'dead')
           AND NOT EXISTS (SELECT FROM present p WHERE p.delivery_id = d.id::text)
        """,
    "a discarded delivery has no dead request": """
        SELECT d.id AS delivery_id, f.id AS letter_id
          FROM engine.failed_jobs f JOIN webhooks.deliveries d ON d.id::text = f.event_data -> 'data' ->> 'delivery_id'
         WHERE f.resolved_at IS NULL AND f.job_type = 'webhook/delivery.requested' AND d.status = 'discarded'
        """,
    "an endpoint has one current secret and at most one former one": """
        SELECT e.id AS endpoint_id,
               count(s.id) FILTER (WHERE s.expires_at IS NULL) AS current,
               count(s.id) FILTER (WHERE s.expires_at > now()) AS former
          FROM webhooks.endpoints e LEFT JOIN webhooks.secrets s ON s.endpoint_id = e.id
         GROUP BY e.id
        HAVING count(s.id) FILTER (WHERE s.expires_at IS NULL) <> 1
            OR count(s.id) FILTER (WHERE s.expires_at > now()) > 1
        """,
    "a delivery is of a type that its endpoint's tenant has": """
        SELECT d.id AS delivery_id, d.event_type
          FROM webhooks.deliveries d JOIN webhooks.endpoints e ON e.id = d.endpoint_id
         WHERE (e.org_id IS NOT NULL) <> starts_with(d.event_type, 'collection.')
        """,
}

WEBHOOKS = tuple(Invariant(f"webhooks: {name}", statement) for name, statement in _INVARIANTS.items())
