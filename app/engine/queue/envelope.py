"""A delivery and the letters in it: what a queue row holds, once it is opened.

A row carries one event (task `consume`), or a parcel: `{"attempt": n, "events": [...]}` (tasks `consume_parcel` and
`perform`), with the `"error"` that brought it back if one did, `"since"` when it waits for that to pass and, of
effects, the `"share"` of the deliveries that it belongs to. `open_rows` never fails: what is no event becomes a letter
that says so, and its reader buries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from app.context import Connection
from app.engine.domain import wiring
from events import SIZE_LIMIT, Event, Unreadable, parse_all


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt of a worker at a queue row. The three are its lease: another delivery of the row has others."""

    row_id: int
    attempts: int
    worker_id: int | None


class LeaseLost(Exception):
    """The row is no longer this delivery's: finished before, or rescued and given to another worker."""


@dataclass(frozen=True, slots=True)
class Row:
    """A queue row that a delivery has taken: its id and its arguments as JSON text."""

    row_id: int
    args: str


@dataclass(frozen=True, slots=True)
class Since:
    """When an event was first set aside for an error of this class, by the database's clock, and the newest error."""

    error: str
    at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """One event of a row, or what stood in its place. `raw` is the JSON that was published, decoded."""

    row_id: int
    attempt: int
    raw: Any
    event: Event[Any] | Unreadable
    since: Since | None = None

    @property
    def event_id(self) -> UUID | None:
        """The id of the event, also of one that cannot be read if it has one."""
        if isinstance(self.event, Event):
            return self.event.id
        try:
            return UUID(self.raw["id"])
        except (TypeError, KeyError, ValueError, AttributeError):
            return None


_ERROR_LIMIT = 300
"""Characters of an error that a put-back row remembers."""


def remembered(error: BaseException) -> str:
    """An error as a put-back row remembers it: its class, and its message as far as the database can store it."""
    message = str(error)[:_ERROR_LIMIT].replace("\x00", "")
    return f"{type(error).__name__}: {message}".encode(errors="replace").decode()


def open_rows(rows: Iterable[Row]) -> list[Letter]:
    """Every letter of some rows, in their order. Raises nothing: what cannot be opened is a letter that says so."""
    addressed = [(row, *one) for row in rows for one in _open(row)]
    read = parse_all([raw for _, _, _, raw in addressed])
    return [
        Letter(row.row_id, attempt, raw, _within_limit(row, raw, event), since)
        for (row, attempt, since, raw), event in zip(addressed, read, strict=True)
    ]


def _open(row: Row) -> list[tuple[int, Since | None, Any]]:
    try:
        value = from_json(row.args)
    except ValueError:
        # PostgreSQL holds it for JSON and Python cannot, a number of thousands of digits say. Kept as it is, as text.
        return [(0, None, row.args)]
    if not isinstance(value, dict) or "events" not in value:
        return [(0, None, value)]
    attempt, events = value.get("attempt", 0), value["events"]
    if not isinstance(events, list) or not isinstance(attempt, int):
        return [(0, None, value)]
    since = _since(value) if "since" in value else None
    return [(attempt, since, raw) for raw in events]


def _since(value: dict[str, Any]) -> Since | None:
    try:
        at = datetime.fromisoformat(value["since"])
    except (TypeError, ValueError):
        return None
    return None if at.tzinfo is None else Since(str(value.get("error")), at)


def _within_limit(row: Row, raw: Any, event: Event[Any] | Unreadable) -> Event[Any] | Unreadable:
    # Measured as it was published, without the blanks that PostgreSQL puts between; and only where it can matter.
    if len(row.args) <= SIZE_LIMIT or len(to_json(raw)) <= SIZE_LIMIT:
        return event
    return Unreadable(raw, f"an event takes at most {SIZE_LIMIT} bytes: send ids, not documents")


_HOLD = """
SELECT 1 FROM public.procrastinate_jobs
 WHERE id = %(row_id)s AND status = 'doing' AND attempts = %(attempts)s
   AND worker_id IS NOT DISTINCT FROM %(worker_id)s
   FOR UPDATE
"""
_SHRINK = "UPDATE public.procrastinate_jobs SET args = %s::jsonb WHERE id = %s"
_TAKE_SIBLINGS = """
DELETE FROM public.procrastinate_jobs j
 USING (SELECT id FROM public.procrastinate_jobs
         WHERE id = ANY(%s) AND status = 'todo' AND attempts = 0 FOR UPDATE SKIP LOCKED) free
 WHERE j.id = free.id
RETURNING j.id
"""
# Workers listen for inserted rows; this one is as good as inserted.
_WAIT_AGAIN = """
WITH waits AS (
    UPDATE public.procrastinate_jobs SET status = 'todo', worker_id = NULL, abort_requested = false WHERE id = %s
    RETURNING id, queue_name)
SELECT pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', waits.id)::text)
  FROM waits, unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || waits.queue_name]) AS channel
"""
_REMOVE = "DELETE FROM public.procrastinate_jobs WHERE id = %s"


def hold(connection: Connection, delivery: Delivery) -> None:
    """Lock the delivery's row until the transaction ends. Raises `LeaseLost` when it is not this delivery's."""
    if connection.execute(_HOLD, asdict(delivery)).fetchone() is None:
        raise LeaseLost


def release(connection: Connection, delivery: Delivery, remaining: Sequence[Letter]) -> None:
    """Acknowledge all of the held row but `remaining`: it goes, or shrinks to the letters that are still to be done."""
    shrink(connection, delivery.row_id, remaining)


def shrink(connection: Connection, row_id: int, remaining: Sequence[Letter]) -> None:
    """Leave no more than `remaining` in a locked row; without any it is removed."""
    if remaining:
        first = remaining[0]
        share = wiring().share(first.event) if isinstance(first.event, Event) else None
        whose = {"share": share} if share else {}
        parcel = {"attempt": first.attempt, **whose, "events": [letter.raw for letter in remaining]}
        connection.execute(_SHRINK, [to_json(parcel).decode(), row_id])
    else:
        connection.execute(_REMOVE, [row_id])


def wait_again(connection: Connection, delivery: Delivery, letters: Sequence[Letter]) -> None:
    """Let the held row wait again with `letters`, at least one, under its own id: in its place in the queue.

    Only for a worker that takes no more rows: if it took this one again, both deliveries would have one lease.
    """
    shrink(connection, delivery.row_id, letters)
    connection.execute(_WAIT_AGAIN, [delivery.row_id])


def take_siblings(connection: Connection, letters: Sequence[Letter]) -> list[Letter]:
    """Take the rows of `letters`, each a single waiting event, out of the queue; those that others took stay out."""
    taken = {row_id for (row_id,) in connection.execute(_TAKE_SIBLINGS, [[letter.row_id for letter in letters]])}
    return [letter for letter in letters if letter.row_id in taken]
