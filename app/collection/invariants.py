"""Invariants of collection runs, for `audit`. Each is a query for rows that violate it; they hold at every commit."""

from __future__ import annotations

from typing import LiteralString

from app.engine.domain import Invariant

# The events that wait, are in delivery or are dead, of the types that a query names.
_PRESENT: LiteralString = """
    present AS MATERIALIZED (
        SELECT e ->> 'type' AS type, e ->> 'tenantid' AS org_id, e -> 'data' ->> 'page_id' AS page_id,
               e -> 'data' ->> 'attempt' AS attempt
          FROM engine.queue_rows q CROSS JOIN LATERAL jsonb_array_elements(q.events) e
         WHERE starts_with(e ->> 'type', 'collection/')
         UNION ALL
        SELECT f.job_type, f.event_data ->> 'tenantid', f.event_data -> 'data' ->> 'page_id',
               f.event_data -> 'data' ->> 'attempt'
          FROM engine.failed_jobs f WHERE f.resolved_at IS NULL AND starts_with(f.job_type, 'collection/'))
"""
_INVARIANTS: dict[str, LiteralString] = {
    "the counters equal the items": """
        SELECT r.id AS run_id, r.total_items, r.processed_items, r.failed_items, i.total, i.processed, i.failed
          FROM collection.collection_runs r
          LEFT JOIN (SELECT run_id, count(*) AS total,
                            count(*) FILTER (WHERE status IN ('completed', 'skipped')) AS processed,
                            count(*) FILTER (WHERE status = 'failed') AS failed
                       FROM collection.collection_items GROUP BY 1) i ON i.run_id = r.id
         WHERE (r.total_items, r.processed_items, r.failed_items)
               IS DISTINCT FROM (coalesce(i.total, 0), coalesce(i.processed, 0), coalesce(i.failed, 0))
        """,
    "spent and overrun equal the charges of the pages": """
        SELECT r.id AS run_id, r.actual_cost_cents, r.overrun_cents, p.charged
          FROM collection.collection_runs r
          LEFT JOIN (SELECT run_id, sum(cost_cents) AS charged FROM collection.collection_pages GROUP BY 1) p
            ON p.run_id = r.id
         WHERE r.actual_cost_cents + r.overrun_cents <> coalesce(p.charged, 0)
        """,
    "reserved equals the reservations of the pages": """
        SELECT r.id AS run_id, r.reserved_cost_cents, p.reserved
          FROM collection.collection_runs r
          LEFT JOIN (SELECT run_id, sum(reserved_cents) AS reserved FROM collection.collection_pages GROUP BY 1) p
            ON p.run_id = r.id
         WHERE r.reserved_cost_cents <> coalesce(p.reserved, 0)
        """,
    "spent and reserved are within the cap": """
        SELECT id AS run_id, actual_cost_cents, reserved_cost_cents, budget_cap_cents FROM collection.collection_runs
         WHERE actual_cost_cents + reserved_cost_cents > budget_cap_cents
            OR cap_override_cents IS NOT NULL AND budget_cap_cents <> cap_override_cents
        """,
    "an overrun is left only if the cap is reached": """
        SELECT id AS run_id, overrun_cents, actual_cost_cents, reserved_cost_cents, budget_cap_cents
          FROM collection.collection_runs
         WHERE overrun_cents > 0 AND actual_cost_cents + reserved_cost_cents < budget_cap_cents
        """,
    "the costs of a page's items add up to the page's": """
        SELECT p.id AS page_id, p.run_id, p.cost_cents, sum(i.cost_cents) AS of_items
          FROM collection.collection_pages p
          JOIN collection.collection_items i ON i.org_id = p.org_id AND i.page_id = p.id
         GROUP BY p.id HAVING p.cost_cents <> sum(i.cost_cents)
        """,
    "no organisation has more running than allowed": """
        SELECT r.org_id, count(*) AS running, coalesce(s.max_concurrent_runs, 3) AS most
          FROM collection.collection_runs r LEFT JOIN collection.collection_settings s ON s.org_id = r.org_id
         WHERE r.status = 'running'
         GROUP BY 1, s.max_concurrent_runs HAVING count(*) > coalesce(s.max_concurrent_runs, 3)
        """,
    "a running one has an open page or an unfinished item": """
        SELECT r.id AS run_id FROM collection.collection_runs r
         WHERE r.status = 'running'
           AND NOT EXISTS (SELECT FROM collection.collection_pages p
                            WHERE p.run_id = r.id AND p.status IN ('pending', 'processing'))
           AND r.processed_items + r.failed_items = r.total_items
        """,
    "an ended one has no page that waits": """
        SELECT p.id AS page_id, r.id AS run_id, r.status
          FROM collection.collection_runs r JOIN collection.collection_pages p ON p.run_id = r.id
         WHERE r.status IN ('completed', 'failed', 'cancelled')
           AND (p.status = 'pending' OR r.status = 'completed' AND p.status = 'processing')
        """,
    "a page that is asked for has its request or its result": f"""
        WITH {_PRESENT}
        SELECT p.id AS page_id, p.run_id, p.status, p.attempt
          FROM collection.collection_pages p JOIN collection.collection_runs r ON r.id = p.run_id
         WHERE (p.status = 'processing' OR p.status = 'pending' AND r.status = 'running')
           AND NOT EXISTS (SELECT FROM present e
                            WHERE e.type IN ('collection/page.requested', 'collection/page.completed')
                              AND e.page_id = p.id::text AND e.attempt = p.attempt::text)
        """,  # noqa: S608 - a constant
    "none waits for a free place without an event that starts it": f"""
        WITH {_PRESENT}
        SELECT r.id AS run_id, r.org_id
          FROM collection.collection_runs r LEFT JOIN collection.collection_settings s ON s.org_id = r.org_id
         WHERE (r.status = 'pending' OR r.pause_reason = 'place')
           AND (SELECT count(*) FROM collection.collection_runs running
                 WHERE running.org_id = r.org_id AND running.status = 'running') < coalesce(s.max_concurrent_runs, 3)
           AND NOT EXISTS (SELECT FROM present e
                            WHERE e.type IN ('collection/job.submitted', 'collection/run.paused',
                                             'collection/job.completed')
                              AND e.org_id = r.org_id::text)
        """,  # noqa: S608 - a constant
    "completed once": """
        SELECT subject_id AS run_id, count(*) AS completions FROM engine.event_log
         WHERE type = 'collection/job.completed' GROUP BY 1 HAVING count(*) > 1
        """,
    "warned once": """
        SELECT subject_id AS run_id, count(*) AS warnings FROM engine.event_log
         WHERE type = 'collection/budget.warned' GROUP BY 1 HAVING count(*) > 1
        """,
    "one an organisation and idempotency key": """
        SELECT org_id, idempotency_key, count(*) AS runs FROM collection.collection_runs
         WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        """,
    "status and timestamps agree": """
        SELECT id AS run_id, NULL::uuid AS page_id, NULL::uuid AS item_id, status FROM collection.collection_runs
         WHERE (status = 'paused') <> (paused_at IS NOT NULL) OR (status = 'paused') <> (pause_reason IS NOT NULL)
            OR (status IN ('completed', 'failed', 'cancelled')) <> (completed_at IS NOT NULL)
            OR (status = 'pending' AND started_at IS NOT NULL)
            OR (status NOT IN ('pending', 'cancelled') AND started_at IS NULL)
        UNION ALL
        SELECT run_id, id, NULL, status FROM collection.collection_pages
         WHERE (status IN ('completed', 'failed', 'cancelled')) <> (completed_at IS NOT NULL)
            OR (status = 'processing' AND started_at IS NULL)
        UNION ALL
        SELECT run_id, page_id, id, status FROM collection.collection_items
         WHERE (status IN ('completed', 'failed', 'skipped')) <> (completed_at IS NOT NULL)
            OR (status IN ('failed', 'skipped') AND error_code IS NULL)
        """,
}

COLLECTION = (
    *(Invariant(f"collection runs: {rule}", statement) for rule, statement in _INVARIANTS.items()),
    Invariant(
        "marketplaces: no API key is stored plain",
        "SELECT id AS account_id FROM collection.marketplace_accounts WHERE api_key NOT LIKE 'sealed:%'",
    ),
)
