"""Event types: the table equals the code, and an older program removes nothing of a newer one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.context import Connection
from app.database import as_service
from app.engine import domain, event_types
from app.engine.domain import Wiring
from app.engine.event_types import EventType
from app.engine.worker.app import app, fresh_connector
from tests.conftest import Database
from tests.helpers import sequences, toy
from tests.helpers.toy import Echo, Made, Outside, Said, Wanted


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let this program know another version of `Said`."""

    def make(number: int) -> None:
        monkeypatch.setattr(Said, "version", number)

    return make


def table(connection: Connection) -> list[EventType]:
    """Return the types that are not retired."""
    return event_types.registered(connection)


def said(connection: Connection) -> tuple[int, str]:
    """Return version and queue of `Said` in the table."""
    row = connection.execute(
        "SELECT version, queue_name FROM engine.event_types WHERE type = 'toy/word.said'"
    ).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])


def register(connection: Connection, wiring: Wiring | None = None, *, deployment: bool = False) -> list[str]:
    """Register a wiring; default is the toy domain's."""
    with domain.use(wiring or toy_wiring()), as_service(connection):
        return event_types.register(connection, deployment=deployment)


def toy_wiring(**effect: Any) -> Wiring:
    """Return the toy domain's wiring with a changed effect."""
    own = Outside().wiring()
    return Wiring(own.handlers, {Wanted: replace(own.effects[Wanted], **effect)})


def without(wiring: Wiring, payload: type[Any]) -> Wiring:
    """Return a wiring that does not serve a payload."""
    handlers: Mapping[Any, Any] = {kind: handler for kind, handler in wiring.handlers.items() if kind is not payload}
    return Wiring(handlers, wiring.effects)


def test_the_table_has_what_the_code_declares(connection: Connection) -> None:
    """Each type with queue, priority, batch size, account and order. A second registration changes nothing."""
    wiring = Wiring(
        {**toy_wiring().handlers, sequences.Step: sequences.StepFaults().walk}, toy_wiring(account="limit").effects
    )
    everything = ["toy/call.made", "toy/call.wanted", "toy/echo.heard", "toy/step.taken", "toy/word.said"]
    assert register(connection, wiring) == everything
    assert register(connection, wiring) == []
    with domain.use(wiring):
        assert table(connection) == event_types.declared()
    assert table(connection)[1] == EventType(
        "toy/call.wanted",
        1,
        "toys",
        0,
        25,
        is_effect=True,
        is_sequenced=False,
        account_field="limit",
        owner="toy",
    )
    assert [one.type for one in table(connection) if one.is_sequenced] == ["toy/step.taken"]


async def test_a_worker_registers_at_its_start(connection: Connection, outside: toy.Outside) -> None:
    """Before its first delivery."""
    with app.replace_connector(fresh_connector()):
        async with app.open_async(), app.at_work(1):
            pass
    assert table(connection) == event_types.declared()


def test_a_newer_worker_changes_a_route(connection: Connection) -> None:
    """A definition that is new to the table belongs to a newer program."""
    register(connection)
    assert register(connection, toy_wiring(queue="faster")) == ["toy/call.wanted"]
    assert [one.queue_name for one in table(connection) if one.is_effect] == ["faster"]


def test_an_older_worker_that_starts_again_changes_nothing(connection: Connection) -> None:
    """Its definition was replaced before. This holds however often both start."""
    register(connection)
    register(connection, toy_wiring(queue="faster"))
    assert register(connection) == []
    assert register(connection, toy_wiring(queue="third")) == ["toy/call.wanted"]
    for old in (toy_wiring(), toy_wiring(queue="faster")):
        assert register(connection, old) == []


def test_a_worker_of_an_older_version_changes_nothing(connection: Connection, version: Callable[[int], None]) -> None:
    """Even if its definition is new to the table: its version is older."""
    version(2)
    register(connection)
    version(1)
    assert register(connection) == []
    assert said(connection) == (2, "events")


def test_a_deployment_replaces_what_a_newer_program_wrote(
    connection: Connection, version: Callable[[int], None]
) -> None:
    """After a rollback the deployed program's definition counts."""
    register(connection)
    version(2)
    register(connection)
    version(1)
    assert register(connection, deployment=True) == ["toy/word.said"]
    version(2)
    assert register(connection) == []
    assert said(connection) == (1, "events")
    assert register(connection, deployment=True) == ["toy/word.said"]
    assert said(connection) == (2, "events")


def test_no_worker_removes_a_type(connection: Connection) -> None:
    """A worker that does not know a type leaves its row."""
    register(connection)
    assert register(connection, without(toy_wiring(), Echo)) == []
    assert "toy/echo.heard" in [one.type for one in table(connection)]


def test_a_deployment_retires_what_its_domains_serve_no_more(connection: Connection) -> None:
    """Only another deployment, not an older worker, brings the type back."""
    register(connection)
    assert register(connection, without(toy_wiring(), Echo), deployment=True) == ["toy/echo.heard"]
    assert register(connection) == []
    assert "toy/echo.heard" not in [one.type for one in table(connection)]
    assert register(connection, deployment=True) == ["toy/echo.heard"]


def test_a_deployment_leaves_the_types_of_other_domains(connection: Connection, database: Database) -> None:
    """Another program may share the database."""
    register(connection)
    changed = event_types.deploy(database.owner_url)
    assert "robot/item.completed" in changed
    assert not {"toy/word.said", "toy/call.made"} & set(changed)
    assert {Said.type, Made.type} < {one.type for one in table(connection)}
    assert _owners(connection, *changed) == {"collection", "logistics", "messaging", "webhooks"}


def test_the_owner_is_the_domain_and_rows_of_the_version_before_get_it(
    connection: Connection, database: Database
) -> None:
    """That version wrote the type's first part: a served type gets the domain's name, one no longer served retires."""
    event_types.deploy(database.owner_url)
    with as_service(connection):
        connection.execute(
            "UPDATE engine.event_types SET owner = 'robot', definition = 'before' WHERE type = 'robot/item.completed'"
        )
        connection.execute(
            "INSERT INTO engine.event_types (type, version, queue_name, priority, batch_size, is_effect, is_sequenced,"
            " owner, definition) SELECT t, 1, 'events', 1, 1, false, false, split_part(t, '/', 1), 'before'"
            " FROM unnest(ARRAY['robot/item.gone', 'bell/rung']) AS t"
        )
    assert event_types.deploy(database.owner_url) == ["robot/item.completed", "robot/item.gone"]
    assert _owners(connection, "robot/item.completed") == {"logistics"}
    assert "bell/rung" in [one.type for one in table(connection)]


def _owners(connection: Connection, *types: str) -> set[str]:
    rows = connection.execute("SELECT DISTINCT owner FROM engine.event_types WHERE type = ANY(%s)", [list(types)])
    return {owner for (owner,) in rows}
