"""Dead letters as an admin handles them: find, look at, resolve, discard, annotate, edit.

Whatever changes a letter is written down in `actions`, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row, dict_row

import events
from app.context import Connection, Moment
from app.engine import actions, endings, handover, sequence
from app.engine.publish import publish
from app.errors import Conflict, NotFound
from events import Event, Unreadable

PAGE = 500
"""Letters that are read at once where there may be very many."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `retry_count` counts failed deliveries, `history` tells of its deaths before this one."""

    id: UUID
    job_type: str
    event_data: Any
    error_message: str
    error_stack: str | None
    retry_count: int
    failed_at: datetime
    resolved_at: datetime | None
    notes: str | None
    event_id: UUID | None
    tenant_id: UUID | None
    error_class: str | None
    fingerprint: str | None
    replay_count: int
    replayed_at: datetime | None
    history: list[dict[str, Any]]
    replaced_by: UUID | None


@dataclass(frozen=True, slots=True)
class Dead:
    """What a plan needs of a dead letter: without its stack, which is larger than all the rest."""

    id: UUID
    event_id: UUID | None
    event_data: Any
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters are meant; what is None does not matter. `text` is looked for in the error and the event."""

    type: str | None = None
    tenant: UUID | None = None
    error_class: str | None = None
    fingerprint: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    resolved: bool | None = False
    ids: Sequence[UUID] | None = None

    def as_json(self) -> dict[str, Any]:
        """The filters that matter, in types that JSON has."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {
            name: value if isinstance(value, bool) else [str(one) for one in value] if name == "ids" else str(value)
            for name, value in given.items()
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Letters with one fingerprint: the same failure, however often."""

    fingerprint: str | None
    job_type: str
    error_class: str | None
    letters: int
    tenants: int
    first_at: datetime
    last_at: datetime
    sample_id: UUID
    sample_message: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An applied event of the same job, before or after the one that died."""

    event_id: UUID
    type: str
    occurred_at: datetime
    applied_at: datetime


_COLUMNS: LiteralString = """id, job_type, event_data, error_message, error_stack, retry_count, failed_at, resolved_at,
       notes, event_id, tenant_id, error_class, fingerprint, replay_count, replayed_at, history, replaced_by"""
_WHERE: LiteralString = """
 WHERE (%(type)s::text IS NULL OR job_type = %(type)s)
   AND (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s)
   AND (%(error_class)s::text IS NULL OR error_class = %(error_class)s)
   AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
   AND (%(since)s::timestamptz IS NULL OR failed_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR failed_at < %(until)s)
   AND (%(text)s::text IS NULL OR strpos(lower(error_message || ' ' || event_data::text), lower(%(text)s)) > 0)
   AND (%(resolved)s::boolean IS NULL OR (resolved_at IS NOT NULL) = %(resolved)s)
   AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s) OR event_id = ANY(%(ids)s))
"""
_LIST = f"SELECT {_COLUMNS} FROM engine.failed_jobs{_WHERE} ORDER BY failed_at DESC, id LIMIT %(limit)s"  # noqa: S608
_STREAM = f"""
SELECT id, event_id, event_data, failed_at FROM engine.failed_jobs{_WHERE}
   AND (%(types)s::text[] IS NULL OR job_type = ANY(%(types)s)) ORDER BY failed_at, id
"""  # noqa: S608
_LOCK = f"SELECT {_COLUMNS} FROM engine.failed_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE"  # noqa: S608
_GROUP = f"""
SELECT fingerprint, min(job_type) AS job_type, min(error_class) AS error_class, count(*) AS letters,
       count(DISTINCT tenant_id) AS tenants, min(failed_at) AS first_at, max(failed_at) AS last_at,
       (array_agg(id ORDER BY failed_at DESC))[1] AS sample_id,
       (array_agg(error_message ORDER BY failed_at DESC))[1] AS sample_message
  FROM engine.failed_jobs{_WHERE}
 GROUP BY fingerprint ORDER BY count(*) DESC, max(failed_at) DESC LIMIT %(limit)s
"""  # noqa: S608
_STATS = """
SELECT job_type, error_class, count(*) FILTER (WHERE resolved_at IS NULL) AS unresolved,
       count(*) FILTER (WHERE resolved_at IS NOT NULL) AS resolved,
       count(*) FILTER (WHERE replay_count > 0) AS replayed,
       min(failed_at) FILTER (WHERE resolved_at IS NULL) AS oldest, max(failed_at) AS newest
  FROM engine.failed_jobs GROUP BY job_type, error_class ORDER BY unresolved DESC, job_type, error_class
"""
_FIND = f"""
SELECT {_COLUMNS} FROM engine.failed_jobs WHERE id = %(id)s OR event_id = %(id)s
 ORDER BY (id = %(id)s) DESC, (resolved_at IS NULL) DESC, failed_at DESC LIMIT 1
"""  # noqa: S608
_BEFORE = """
SELECT event_id, type, occurred_at, applied_at FROM engine.event_log
 WHERE subject_id = %(subject)s AND applied_at <= %(at)s ORDER BY applied_at DESC, event_id LIMIT %(limit)s
"""
_AFTER = """
SELECT event_id, type, occurred_at, applied_at FROM engine.event_log
 WHERE subject_id = %(subject)s AND applied_at > %(at)s ORDER BY applied_at, event_id LIMIT %(limit)s
"""
_CLOSE = """
UPDATE engine.failed_jobs
   SET resolved_at = coalesce(resolved_at, now()), notes = concat_ws(E'\\n', notes, %(note)s::text),
       replaced_by = coalesce(%(replaced_by)s, replaced_by)
 WHERE id = ANY(%(ids)s)
"""
_NOTE = "UPDATE engine.failed_jobs SET notes = concat_ws(E'\\n', notes, %s::text) WHERE id = %s"


def select(connection: Connection, filters: Filters, limit: int | None = 100) -> list[DeadLetter]:
    """Letters that the filters mean, newest first; all of them if `limit` is None."""
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    return cursor.execute(_LIST, {**_parameters(filters), "limit": limit}).fetchall()


def stream(connection: Connection, filters: Filters, types: Sequence[str] | None = None) -> Iterator[list[Dead]]:
    """Every letter that the filters mean, of these types if given, the oldest first, in pages of at most `PAGE`.

    All of them are as they were when the first page was read. The pages are read in the caller's transaction.
    """
    with connection.cursor(name="dead_letters", row_factory=class_row(Dead)) as cursor:
        cursor.execute(_STREAM, {**_parameters(filters), "types": None if types is None else list(types)})
        while page := cursor.fetchmany(PAGE):
            yield page


def group(connection: Connection, filters: Filters, limit: int = 100) -> list[Group]:
    """The same letters by fingerprint, most first."""
    cursor = connection.cursor(row_factory=class_row(Group))
    return cursor.execute(_GROUP, {**_parameters(filters), "limit": limit}).fetchall()


def stats(connection: Connection) -> list[dict[str, Any]]:
    """How many letters there are by type and class of error, resolved and not."""
    return connection.cursor(row_factory=dict_row).execute(_STATS).fetchall()


def find(connection: Connection, wanted: UUID) -> DeadLetter:
    """The letter with this id, or the newest of the event with this id. Raises `NotFound`."""
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    letter = cursor.execute(_FIND, {"id": wanted}).fetchone()
    if letter is None:
        raise NotFound(f"dead letter: there is none with the id {wanted}, nor one of such an event; `dead list`")
    return letter


def neighbours(connection: Connection, letter: DeadLetter, limit: int = 5) -> tuple[list[Neighbour], list[Neighbour]]:
    """What was applied of the same job right before the letter died and right after, in order."""
    subject = letter.event_data.get("subject") if isinstance(letter.event_data, dict) else None
    wanted = {"subject": subject, "at": letter.failed_at, "limit": limit}
    cursor = connection.cursor(row_factory=class_row(Neighbour))
    before = cursor.execute(_BEFORE, wanted).fetchall()
    return before[::-1], cursor.execute(_AFTER, wanted).fetchall()


def resolve(connection: Connection, wanted: Sequence[UUID], *, note: str, actor: str) -> list[DeadLetter]:
    """Close letters by hand: what they were about was seen to in another way.

    Raises `NotFound`, and `Conflict` for letters that are resolved, or of effects whose outcome something still waits
    for.
    """
    return _close(connection, wanted, "resolve", note, actor)


def discard(connection: Connection, wanted: Sequence[UUID], *, note: str, actor: str) -> list[DeadLetter]:
    """Close letters because nothing is to be done about them, ever.

    What waits for the outcome of a dead effect, an item say, fails in the same transaction: discarded by `actor`.
    Raises `NotFound`, `Conflict`.
    """
    return _close(connection, wanted, "discard", note, actor)


def annotate(connection: Connection, wanted: UUID, *, note: str, actor: str) -> DeadLetter:
    """Add a note to a letter. Raises `NotFound`."""
    with connection.transaction():
        letter = find(connection, wanted)
        connection.execute(_NOTE, [note, letter.id])
        actions.record(connection, actor, "note", subject=letter.id, reason=note)
    return find(connection, letter.id)


def edit(
    connection: Connection, wanted: UUID, data: Mapping[str, Any], *, reason: str | None, actor: str
) -> Event[Any]:
    """Publish the letter's event with other data as a new event that points to the old one, and resolve the letter.

    Raises `InvalidEvent` for data that the event's schema does not allow, and `Conflict` for a letter that is resolved.
    """
    with connection.transaction():
        letter = find(connection, wanted)
        event = edited(Moment.begin(connection), letter, data)
        # A line before the letter: that is the lock order of whoever applies sequenced events.
        if letter.event_id is not None:
            sequence.take_over(connection, letter.event_id, event.id)
        letter = _open(connection, [letter.id])[0]
        handover.hand_over(connection, letter.event_data, event)
        publish(connection, event)
        note = f"edited by {actor}: event {event.id} takes its place"
        connection.execute(_CLOSE, {"ids": [letter.id], "note": note, "replaced_by": event.id})
        details = {"event_id": str(event.id), "before": _data(letter.event_data), "after": dict(data)}
        actions.record(connection, actor, "edit", subject=letter.id, reason=reason, details=details)
    return event


def edited(moment: Moment, letter: DeadLetter, data: Mapping[str, Any]) -> Event[Any]:
    """The event that an edit would publish. Raises `InvalidEvent`."""
    raw = letter.event_data if isinstance(letter.event_data, dict) else {}
    kind = events.KINDS.get(str(raw.get("type")))
    version = kind.payload.version if kind else 1
    new = {
        **raw,
        "id": str(events.new_id()),
        "time": moment.now.isoformat(),
        "dataschema": f"{raw.get('type')}/{version}",
        "causationid": raw.get("id"),
        "correlationid": raw.get("correlationid") or raw.get("id"),
        "data": dict(data),
    }
    found = events.parse_all([{name: value for name, value in new.items() if value is not None}])[0]
    if isinstance(found, Unreadable):
        raise events.InvalidEvent(found.reason)
    return found


def current_data(letter: DeadLetter) -> dict[str, Any]:
    """The letter's data as the current version of its schema would have it, to be edited; as it is if that fails."""
    read = events.parse_all([letter.event_data])[0]
    return _data(letter.event_data) if isinstance(read, Unreadable) else dict(read.data.model_dump(mode="json"))


def _close(connection: Connection, wanted: Sequence[UUID], action: str, note: str, actor: str) -> list[DeadLetter]:
    with connection.transaction():
        known = {letter.id: letter for letter in (find(connection, one) for one in wanted)}
        sequence.release(connection, [letter.event_id for letter in known.values() if letter.event_id])
        found = _open(connection, sorted(known))
        # After the letters: that is the lock order of a delivery too.
        endings.settle(connection, found, action, f"discarded by {actor}: {note}")
        connection.execute(_CLOSE, {"ids": [letter.id for letter in found], "note": note, "replaced_by": None})
        for letter in found:
            actions.record(connection, actor, action, subject=letter.id, reason=note)
    return [replace(letter, notes=note) for letter in found]


def _open(connection: Connection, ids: Sequence[UUID]) -> list[DeadLetter]:
    """Letters that are not resolved, locked. Raises `Conflict`."""
    found = connection.cursor(row_factory=class_row(DeadLetter)).execute(_LOCK, [list(ids)]).fetchall()
    closed = [letter for letter in found if letter.resolved_at is not None]
    if closed:
        named = ", ".join(f"{letter.id} (since {letter.resolved_at:%Y-%m-%d %H:%M:%S})" for letter in closed[:20])
        raise Conflict(f"dead letters: {len(closed)} of them are resolved already: {named}")
    return found


def _parameters(filters: Filters) -> dict[str, Any]:
    given = asdict(filters)
    return {**given, "ids": None if filters.ids is None else list(filters.ids)}


def _data(raw: Any) -> dict[str, Any]:
    data = raw.get("data") if isinstance(raw, dict) else None
    return dict(data) if isinstance(data, dict) else {}
