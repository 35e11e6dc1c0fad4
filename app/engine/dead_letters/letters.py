"""Query dead letters: list, group, count, find, and show the events applied before and after one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row, dict_row

from app.context import Connection
from app.errors import NotFound

PAGE = 500
"""Letters per page of a server-side cursor."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter. `retry_count`: failed deliveries. `history`: its earlier failures, oldest first."""

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
    """The columns of a dead letter that a plan needs. Leaves out the stack trace, which is the largest column."""

    id: UUID
    event_id: UUID | None
    event_data: Any
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions for letters, combined with AND. None: no condition.

    `since` (inclusive) and `until` (exclusive) compare `failed_at`. `text`: case-insensitive substring of the error
    message or the event's JSON. `ids`: ids of letters or of events.
    """

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
        """Return the filters that are set, as JSON types."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {
            name: value if isinstance(value, bool) else [str(one) for one in value] if name == "ids" else str(value)
            for name, value in given.items()
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Letters with the same fingerprint, that is, the same failure. `letters` and `tenants` are counts."""

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
    """An event with the same subject, applied before or after the dead event failed."""

    event_id: UUID
    type: str
    occurred_at: datetime
    applied_at: datetime


COLUMNS: LiteralString = """id, job_type, event_data, error_message, error_stack, retry_count, failed_at, resolved_at,
       notes, event_id, tenant_id, error_class, fingerprint, replay_count, replayed_at, history, replaced_by"""
"""The columns of `DeadLetter`."""
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
_LIST = f"SELECT {COLUMNS} FROM engine.failed_jobs{_WHERE} ORDER BY failed_at DESC, id LIMIT %(limit)s"  # noqa: S608
_STREAM = f"""
SELECT id, event_id, event_data, failed_at FROM engine.failed_jobs{_WHERE}
   AND (%(types)s::text[] IS NULL OR job_type = ANY(%(types)s)) ORDER BY failed_at, id
"""  # noqa: S608
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
SELECT {COLUMNS} FROM engine.failed_jobs WHERE id = %(id)s OR event_id = %(id)s
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


def ago(connection: Connection, span: timedelta) -> datetime:
    """Return the database's current time minus `span`."""
    row = connection.execute("SELECT clock_timestamp() - %s", [span]).fetchone()
    if row is None:
        raise AssertionError
    found: datetime = row[0]
    return found


def select(connection: Connection, filters: Filters, limit: int | None = 100) -> list[DeadLetter]:
    """Return at most `limit` letters that match the filters, newest first. None: no limit."""
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    return cursor.execute(_LIST, {**_parameters(filters), "limit": limit}).fetchall()


def stream(connection: Connection, filters: Filters, types: Sequence[str] | None = None) -> Iterator[list[Dead]]:
    """Yield all letters that match the filters, oldest first, in pages of at most `PAGE`.

    `types`: only these event types. All pages come from one snapshot, taken when the first page is read, in the
    caller's transaction.
    """
    with connection.cursor(name="dead_letters", row_factory=class_row(Dead)) as cursor:
        cursor.execute(_STREAM, {**_parameters(filters), "types": None if types is None else list(types)})
        while page := cursor.fetchmany(PAGE):
            yield page


def group(connection: Connection, filters: Filters, limit: int = 100) -> list[Group]:
    """Return at most `limit` groups of letters that match the filters, by fingerprint, largest group first."""
    cursor = connection.cursor(row_factory=class_row(Group))
    return cursor.execute(_GROUP, {**_parameters(filters), "limit": limit}).fetchall()


def stats(connection: Connection) -> list[dict[str, Any]]:
    """Return counts of letters by event type and error class: unresolved, resolved, replayed; and oldest and newest."""
    return connection.cursor(row_factory=dict_row).execute(_STATS).fetchall()


def find(connection: Connection, wanted: UUID) -> DeadLetter:
    """Return the letter with this id, or the letter of the event with this id: the unresolved one, else the newest.

    Raises `NotFound`.
    """
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    letter = cursor.execute(_FIND, {"id": wanted}).fetchone()
    if letter is None:
        raise NotFound(f"dead letter: there is none with the id {wanted}, nor one of such an event; `dead list`")
    return letter


def neighbours(connection: Connection, letter: DeadLetter, limit: int = 5) -> tuple[list[Neighbour], list[Neighbour]]:
    """Return up to `limit` events of the same subject applied before the letter failed, and up to `limit` after.

    Both lists are in the order of application.
    """
    subject = letter.event_data.get("subject") if isinstance(letter.event_data, dict) else None
    wanted = {"subject": subject, "at": letter.failed_at, "limit": limit}
    cursor = connection.cursor(row_factory=class_row(Neighbour))
    before = cursor.execute(_BEFORE, wanted).fetchall()
    return before[::-1], cursor.execute(_AFTER, wanted).fetchall()


def _parameters(filters: Filters) -> dict[str, Any]:
    given = asdict(filters)
    return {**given, "ids": None if filters.ids is None else list(filters.ids)}
