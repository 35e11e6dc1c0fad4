"""Explain why events have not been applied. Input: a pattern of events. Output: reasons.

A pattern is a part of an event's JSON: `{"id": …}` matches one event, `{"subject": …}` the events of a job,
`{"tenantid": …}` the events of a tenant. No index supports patterns: each query reads all waiting rows of the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from app.context import Connection
from app.engine.delivery.locked import place_in
from app.engine.delivery.unknown import is_unknown
from app.engine.domain import wiring
from app.engine.effects import cooldowns
from app.engine.inspect.holders import Session, holders
from app.engine.inspect.reasons import Dead, Done, Failed, InDoubt, InHand, Reason
from app.engine.inspect.waiting import (
    BehindOthers,
    CoolingDown,
    LockHeld,
    NobodyServes,
    Parked,
    PutBack,
    QueuePaused,
    UnknownHere,
    Waiting,
    WaitingForShare,
)
from app.engine.queue import ordering
from app.engine.queue.pauses import pauses
from app.engine.queue.workers import Worker, list_workers, serving
from app.errors import NotFound
from app.settings import settings

Pattern = Mapping[str, Any]

_WHEREABOUTS = Path(__file__).with_name("whereabouts.sql").read_bytes()
_AHEAD = """
SELECT count(*) FROM public.procrastinate_jobs j, public.procrastinate_jobs own
 WHERE own.id = %s AND j.status = 'todo' AND j.queue_name = own.queue_name
   AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
   AND (j.priority > own.priority OR (j.priority = own.priority AND j.id < own.id))
"""
# Counts at most a thousand waiting tenants. With more, a tenant's share is negligible.
_SHARE = """
WITH own AS MATERIALIZED (
    SELECT j.id, j.queue_name, j.priority, engine.share(j.args) AS share FROM public.procrastinate_jobs j
     WHERE j.id = %(row)s AND j.task_name = 'perform'
), tenants AS (
    SELECT split_part(w.share, '/', 1) AS tenant
      FROM own, LATERAL engine.waiting_shares(ARRAY[own.queue_name::text], '', 1000, 1) w
     UNION
    SELECT split_part(engine.share(j.args), '/', 1) FROM own JOIN public.procrastinate_jobs j USING (queue_name)
     WHERE j.status = 'doing' AND j.task_name = 'perform'
     UNION
    SELECT split_part(own.share, '/', 1) FROM own
)
SELECT (SELECT count(*) FROM public.procrastinate_jobs j
         WHERE j.status = 'todo' AND j.task_name = 'perform' AND j.queue_name = own.queue_name
           AND engine.share(j.args) COLLATE "C" = own.share AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
           AND (j.priority > own.priority OR (j.priority = own.priority AND j.id < own.id))) AS ahead,
       engine.tenant_weight(split_part(own.share, '/', 1)) AS weight,
       (SELECT sum(engine.tenant_weight(t.tenant)) FROM tenants t) AS total,
       (SELECT count(*) FROM tenants) AS tenants
  FROM own
"""
_HELD_SLOTS = """
SELECT count(*) FROM engine.slots s
 WHERE s.key = %s AND engine.is_taken(s.row_id, s.attempts, s.worker_id, s.reserved_until)
"""
_DEAD = """
SELECT count(*) AS events, (array_agg(id ORDER BY failed_at))[1] AS letter_id, min(job_type) AS type,
       coalesce(error_class, '?') || ': ' || left((array_agg(error_message ORDER BY failed_at))[1], 300) AS error,
       min(failed_at) AS since, fingerprint
  FROM engine.failed_jobs WHERE resolved_at IS NULL AND event_data @> %s
 GROUP BY fingerprint, error_class ORDER BY count(*) DESC, min(failed_at) LIMIT 20
"""
_HELD_IN_ORDER = "SELECT event_id FROM engine.sequence WHERE held @> %s ORDER BY position"
_TENANT = """
SELECT tenant_id::text FROM engine.event_log WHERE event_id = %(id)s
UNION ALL
SELECT tenant_id::text FROM engine.failed_jobs WHERE event_id = %(id)s
UNION ALL
SELECT e ->> 'tenantid'
  FROM engine.queue_rows j, jsonb_array_elements(j.events) e
 WHERE e ->> 'id' = %(id)s::text
   AND (j.place = 'delayed' OR engine.is_ours(j.task_name, j.queue_name, %(queues)s::text[]))
 LIMIT 1
"""
_DONE = "SELECT type, applied_at FROM engine.event_log WHERE event_id = %s"


@dataclass(frozen=True, slots=True)
class _Group:
    """Events that wait for the same reason. `row_id`: the first of their rows."""

    state: str
    queue: str
    events: int
    row_id: int
    worker_id: int | None
    until: datetime | None
    last_until: datetime | None
    attempt: int
    error: str | None
    key: str | None
    parked_at: datetime | None
    doubtful: int
    doubtful_id: UUID | None
    begun_at: datetime | None
    tries: int | None
    since: datetime | None


def explain_event(connection: Connection, event_id: UUID) -> list[Reason]:
    """Return the reasons of one event: applied, waiting or dead. Raises `NotFound` if no such event exists."""
    found = [*_done(connection, event_id), *explain(connection, {"id": str(event_id)})]
    found += _behind_others(connection, event_id)
    if not found:
        raise NotFound(
            f"event: {event_id} is nowhere: not waiting, not applied, not dead. It was never published, or it was"
            f" applied more than {settings().ledger_days:g} days ago and its entry in the ledger has been pruned"
        )
    return found


def tenant_of(connection: Connection, event_id: UUID) -> UUID | None:
    """Return the tenant of an applied, dead or waiting event; None if the event has no tenant or does not exist."""
    parameters = {"id": event_id, "queues": wiring().queues()}
    said = connection.cursor(row_factory=scalar_row).execute(_TENANT, parameters).fetchone()
    with suppress(ValueError):  # a waiting event is not validated yet: its tenant may be any text
        return UUID(said) if said else None
    return None


def explain(connection: Connection, pattern: Pattern) -> list[Reason]:
    """Return the reasons why events that match `pattern` are not applied; an empty list if there are no such events.

    Events that wait for the same reason share one.
    """
    groups = _groups(connection, pattern)
    workers = list_workers(connection)
    waiting = sorted({group.queue for group in groups if group.state not in {"in_hand", "failed"}})
    return [
        *_blocked(connection, waiting, workers),
        *(_reason(connection, group, workers) for group in groups),
        *_cooling_down(connection, groups),
        *_locks(connection, groups),
        *_doubts(groups),
        *_held_in_order(connection, pattern),
        *connection.cursor(row_factory=class_row(Dead)).execute(_DEAD, [Jsonb(pattern)]).fetchall(),
    ]


def _groups(connection: Connection, pattern: Pattern) -> list[_Group]:
    cursor = connection.cursor(row_factory=class_row(_Group))
    return cursor.execute(_WHEREABOUTS, {"pattern": Jsonb(pattern), "queues": wiring().queues()}).fetchall()


def _blocked(connection: Connection, queues: Iterable[str], workers: Sequence[Worker]) -> Iterator[Reason]:
    """Yield reasons that stop whole queues: pauses, and queues without a live worker."""
    paused = pauses(connection)
    for queue in queues:
        if (pause := paused.get(queue)) is not None:
            yield QueuePaused(queue, pause.paused_by, pause.reason, pause.paused_at)
        if not serving(workers, queue):
            yield NobodyServes(queue)


def _reason(connection: Connection, group: _Group, workers: Sequence[Worker]) -> Reason:
    events, queue, row_id = group.events, group.queue, group.row_id
    match group:
        case _Group(state="in_hand"):
            who = {worker.worker_id: worker for worker in workers}.get(group.worker_id or 0)
            label, is_stale = (who.label, who.is_stale) if who else (None, True)
            return InHand(events, queue, row_id, label, group.since, is_stale)
        case _Group(state="failed"):
            return Failed(events, queue, row_id)
        case _Group(state="parked", key=str(key), parked_at=datetime() as since):
            return Parked(events, queue, row_id, key, _count(connection, _HELD_SLOTS, key), since)
        case _Group(state="put_back", until=datetime() as until, error=str(error)) if is_unknown(error):
            return UnknownHere(events, queue, row_id, until, error.partition(": ")[2])
        case _Group(state="put_back", until=datetime() as until, last_until=datetime() as last):
            return PutBack(events, queue, row_id, until, last, group.attempt, group.error)
        case _ if (share := connection.execute(_SHARE, {"row": row_id}).fetchone()) is not None:
            return WaitingForShare(events, queue, row_id, *share)
        case _:
            return Waiting(events, queue, row_id, _count(connection, _AHEAD, row_id))


def _cooling_down(connection: Connection, groups: Iterable[_Group]) -> Iterator[Reason]:
    """Yield cooldowns that parked rows wait for. For a row that was put back, its error names the cooldown."""
    for cooldown in cooldowns.find(connection, sorted({group.key for group in groups if group.key})):
        yield CoolingDown(cooldown.key, cooldown.reason, cooldown.until)


def _locks(connection: Connection, groups: Iterable[_Group]) -> Iterator[Reason]:
    """Yield the sessions that hold the locks for which events were set aside; one lock for each group."""
    for group in groups:
        target = place_in(group.error) if group.error else None
        if target is not None and target.id is not None:
            found = holders(connection, target)
            yield from (_lock_held(group.events, target.table, target.id, session) for session in found)
            if not found:
                yield LockHeld(group.events, target.table, target.id, None)


def _lock_held(events: int, table: str, row: UUID, session: Session) -> Reason:
    return LockHeld(events, table, row, session.pid, session.login, session.application, session.state, session.since)


def _doubts(groups: Iterable[_Group]) -> Iterator[Reason]:
    for group in groups:
        if group.doubtful_id is not None and group.begun_at is not None:
            yield InDoubt(group.doubtful, group.doubtful_id, group.begun_at, group.tries or 1)


def _held_in_order(connection: Connection, pattern: Pattern) -> Iterator[Reason]:
    held = [event_id for (event_id,) in connection.execute(_HELD_IN_ORDER, [Jsonb(pattern)])]
    if held and (position := ordering.position_of(connection, held[0])):
        yield BehindOthers(len(held), position.subject_id, position.ahead, position.first_id)


def _behind_others(connection: Connection, event_id: UUID) -> Iterator[Reason]:
    """Yield a reason for an event in the queue whose delivery must wait for earlier events of its sequence."""
    position = ordering.position_of(connection, event_id)
    if position and position.ahead and not position.is_held:
        yield BehindOthers(1, position.subject_id, position.ahead, position.first_id)


def _done(connection: Connection, event_id: UUID) -> list[Done]:
    return connection.cursor(row_factory=class_row(Done)).execute(_DONE, [event_id]).fetchall()


def _count(connection: Connection, statement: Any, value: object) -> int:
    row = connection.execute(statement, [value]).fetchone()
    return int(row[0]) if row else 0
