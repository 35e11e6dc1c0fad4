"""Event types: which type of event goes to which queue, as a table that producers in any language share.

`engine.event_types` has a row for each type that a program serves. The code is its source: `db migrate` and each
worker at its start write it. `engine.publish(jsonb)` reads it; `publish()` in Python reads the code itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from pydantic_core import to_json

from app import database
from app.context import Connection
from app.engine.domain import Effect, wiring
from app.engine.routing import EFFECTS_PRIORITY, EVENTS_PRIORITY, EVENTS_QUEUE, MOST_IN_A_ROW
from events import Payload

_REGISTER = "SELECT engine.register_event_types(%s::jsonb, %s)"


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event and where its events go: the columns of `engine.event_types` that the code determines.

    `version` is the newest of the payload. `batch_size` is the most events in one queue row. `account_field` is the
    field of an effect's data that names its account. `owner` is the domain: the type's part before the slash.
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
    """Every type that this program serves, by name."""
    table = wiring()
    handled = [_handled(payload) for payload in table.handlers]
    performed = [_effect(payload, effect) for payload, effect in table.effects.items()]
    return sorted([*handled, *performed], key=lambda one: one.type)


def deploy(address: str | None = None) -> list[str]:
    """Register as the deployment of this program, on a connection of its own as the owner (or to `address`)."""
    url = database.bounded(address or database.owner_url())
    with psycopg.connect(url, application_name="migrate") as connection, database.as_service(connection):
        return register(connection, deployment=True)


def register(connection: Connection, *, deployment: bool = False) -> list[str]:
    """Write what this program serves to `engine.event_types`; returns the types whose rows changed.

    What a newer program wrote stays as it is. With `deployment`, as `db migrate` does it, this program's definitions
    replace all others, and types of its owners that it no longer serves are retired. Needs `service_role`.
    """
    row = connection.execute(_REGISTER, [to_json(declared()).decode(), deployment]).fetchone()
    return list(row[0]) if row else []


def _handled(payload: type[Payload]) -> EventType:
    return EventType(
        payload.type,
        payload.version,
        EVENTS_QUEUE,
        EVENTS_PRIORITY,
        MOST_IN_A_ROW,
        is_effect=False,
        is_sequenced=payload.sequenced,
        account_field=None,
        owner=_owner(payload),
    )


def _effect(payload: type[Payload], effect: Effect) -> EventType:
    return EventType(
        payload.type,
        payload.version,
        effect.queue,
        EFFECTS_PRIORITY,
        effect.batch_size,
        is_effect=True,
        is_sequenced=False,
        account_field=effect.account,
        owner=_owner(payload),
    )


def _owner(payload: type[Payload]) -> str:
    return payload.type.partition("/")[0]
