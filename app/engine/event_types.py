"""Register event types in the table `engine.event_types`, which routes events that SQL producers publish.

The table has a row for each type that a program serves. The code is its source: `db migrate` and each starting worker
write it. `engine.publish(jsonb)` reads it. `publish()` in Python reads the code instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row
from pydantic_core import to_json

from app import database
from app.context import Connection
from app.engine.domain import Effect, wiring
from app.engine.routing import EFFECTS_PRIORITY, EVENTS_PRIORITY, EVENTS_QUEUE, MOST_IN_A_ROW
from events import KINDS, Payload

_REGISTER = "SELECT engine.register_event_types(%s::jsonb, %s)"
_REGISTERED = """
SELECT type, version, queue_name, priority, batch_size, is_effect, is_sequenced, account_field, owner
  FROM engine.event_types WHERE retired_at IS NULL ORDER BY type
"""


@dataclass(frozen=True, slots=True)
class EventType:
    """The columns of `engine.event_types` that the code determines.

    `version`: the payload's newest version. `batch_size`: most events in one queue row. `account_field`: the field of
    an effect's data that names its account. `owner`: the name of the domain that serves the type.
    """

    type: str
    version: int
    queue_name: str
    priority: int
    batch_size: int
    is_effect: bool
    is_sequenced: bool
    account_field: str | None
    owner: str


def declared() -> list[EventType]:
    """Return all event types that this program serves, sorted by name; without subscriptions."""
    table = wiring()
    handled = [_handled(payload, table.owner(payload)) for payload in table.handlers if _is_published(payload)]
    performed = [
        _effect(payload, effect, table.owner(payload))
        for payload, effect in table.effects.items()
        if _is_published(payload)
    ]
    return sorted([*handled, *performed], key=lambda one: one.type)


def deploy(address: str | None = None) -> list[str]:
    """Register this program's types with `deployment=True`, on a new connection as the owner or to `address`.

    Returns the types whose rows changed.
    """
    url = database.bounded(address or database.owner_url())
    with psycopg.connect(url, application_name="migrate") as connection, database.as_service(connection):
        return register(connection, deployment=True)


def register(connection: Connection, *, deployment: bool = False) -> list[str]:
    """Write this program's types to `engine.event_types`. Returns the types whose rows changed.

    Rows of a newer program stay unchanged. With `deployment`, which `db migrate` sets, this program's definitions
    replace all others, and types of its owners that it no longer serves are retired. Needs `service_role`.
    """
    row = connection.execute(_REGISTER, [to_json(declared()).decode(), deployment]).fetchone()
    return list(row[0]) if row else []


def registered(connection: Connection) -> list[EventType]:
    """Return the rows of `engine.event_types` that are not retired, sorted by name. Needs `service_role`."""
    return connection.cursor(row_factory=class_row(EventType)).execute(_REGISTERED).fetchall()


def _handled(payload: type[Payload], owner: str) -> EventType:
    return EventType(
        payload.type,
        payload.version,
        EVENTS_QUEUE,
        EVENTS_PRIORITY,
        MOST_IN_A_ROW,
        is_effect=False,
        is_sequenced=payload.sequenced,
        account_field=None,
        owner=owner,
    )


def _effect(payload: type[Payload], effect: Effect, owner: str) -> EventType:
    return EventType(
        payload.type,
        payload.version,
        effect.queue,
        EFFECTS_PRIORITY,
        effect.batch_size,
        is_effect=True,
        is_sequenced=False,
        account_field=effect.account,
        owner=owner,
    )


def _is_published(payload: type[Payload]) -> bool:
    kind = KINDS.get(payload.type)
    return kind is not None and kind.subscriber is None
