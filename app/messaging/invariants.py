"""Invariants of messages, for `audit`. Each is a query for rows that violate it; they hold at every commit."""

from __future__ import annotations

from typing import LiteralString

from app.engine.domain import Invariant

_INVARIANTS: dict[str, LiteralString] = {
    "an open job has an event that is waiting, in delivery or dead": """
        WITH present AS MATERIALIZED (
            SELECT e ->> 'type' AS type, e -> 'data' ->> 'job_id' AS job_id, e -> 'data' ->> 'attempt' AS attempt
              FROM engine.queue_rows q CROSS JOIN LATERAL jsonb_array_elements(q.events) e
             WHERE starts_with(e ->> 'type', 'message/')
             UNION ALL
            SELECT f.job_type, f.event_data -> 'data' ->> 'job_id', f.event_data -> 'data' ->> 'attempt'
              FROM engine.failed_jobs f WHERE f.resolved_at IS NULL AND starts_with(f.job_type, 'message/'))
        SELECT j.id AS job_id, j.status, j.attempt FROM messaging.jobs j
         WHERE j.status IN ('pending', 'processing')
           AND NOT EXISTS (
               SELECT FROM present e
                WHERE e.job_id = j.id::text
                  AND CASE j.status WHEN 'pending' THEN e.type = 'message/job.submitted'
                      ELSE e.type IN ('message/processing.requested', 'message/processing.completed')
                           AND e.attempt = j.attempt::text END)
        """,
    "completed once an attempt": """
        SELECT subject_id AS job_id, data ->> 'attempt' AS attempt, count(*) AS completions FROM engine.event_log
         WHERE type = 'message/job.completed' GROUP BY 1, 2 HAVING count(*) > 1
        """,
    "one a message": """
        SELECT provider_message_id, count(*) AS jobs FROM messaging.jobs
         WHERE provider_message_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1
        """,
    "status, content and timestamps agree": """
        SELECT id AS job_id, status FROM messaging.jobs
         WHERE (status = 'pending') <> (started_at IS NULL)
            OR (status IN ('complete', 'failed')) <> (completed_at IS NOT NULL)
            OR (status = 'complete') <> (content IS NOT NULL) OR (status = 'failed') <> (error_message IS NOT NULL)
        """,
}
_PEOPLE: dict[str, LiteralString] = {
    "a person is found by the key": """
        SELECT u.phone_number FROM messaging.users u
         WHERE NOT EXISTS (SELECT FROM messaging.user_aliases a
                            WHERE a.alias = u.phone_number AND a.phone_number = u.phone_number)
        """,
    "a person with a number has it as the key": """
        SELECT phone_number, array_agg(alias ORDER BY alias) AS numbers FROM messaging.user_aliases
         WHERE kind = 'number' AND NOT starts_with(phone_number, '+') GROUP BY 1
        """,
}

MESSAGING = (
    *(Invariant(f"message jobs: {rule}", statement) for rule, statement in _INVARIANTS.items()),
    *(Invariant(f"messages: {rule}", statement) for rule, statement in _PEOPLE.items()),
)
