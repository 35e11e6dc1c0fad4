"""Locked rows: which rows another session has locked, and which events wait for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import events
from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.delivery.locked import (
    Found,
    LockTarget,
    RecentlyLocked,
    by_lock_target,
    find_locked,
    lock_target,
    place_in,
)
from app.engine.domain import Lockable, Wiring
from app.engine.queue.envelope import QueuedEvent, remembered
from events import Event
from tests.conftest import Database
from tests.helpers.factories import make_workspace
from tests.helpers.queued import queued, unreadable
from tests.helpers.support import scalar
from tests.helpers.toy import NOW, Outside, Said, say

WORKSPACES, ORGS = "tenancy.workspaces", "tenancy.orgs"
LOCK = {
    WORKSPACES: "SELECT FROM tenancy.workspaces WHERE id = %s FOR UPDATE",
    ORGS: "SELECT FROM tenancy.orgs WHERE id = %s FOR UPDATE",
}


def orgs_of(connection: Connection, said: Sequence[Event[Any]]) -> Mapping[UUID, UUID]:
    """Return the organisation of each event's workspace."""
    found = dict(connection.execute("SELECT id, org_id FROM tenancy.workspaces").fetchall())
    return {event.id: found[event.tenantid] for event in said if event.tenantid in found}


@pytest.fixture
def wiring(outside: Outside) -> Iterator[Wiring]:
    """Words need their subject's workspace, then the organisation of their tenant, which they do not name."""
    made = replace(
        outside.wiring(),
        lockables=[
            Lockable("tenancy", "workspaces", id_of=lambda event: event.subject),
            Lockable("tenancy", "orgs", id_of=lambda _: None, look_up=orgs_of),
        ],
    )
    with domain.use(made):
        yield made


def about(workspace: UUID | None, tenant: UUID | None = None) -> QueuedEvent:
    """Return a word about a workspace."""
    return queued(events.new(Said(word="word"), now=NOW, subject=workspace, tenant=tenant))


@contextmanager
def holding(database: Database, table: str, row: UUID) -> Iterator[None]:
    """Lock a row in another session."""
    with psycopg.connect(doors.conninfo(database.url)) as other:
        other.execute(LOCK[table], [row])
        yield


def test_events_of_a_locked_row_are_found(database: Database, connection: Connection, wiring: Wiring) -> None:
    """The others are free. A row that does not exist is not locked. Afterwards no row is locked by the search."""
    one, two = make_workspace(connection).id, make_workspace(connection).id
    waiting, free, missing, nothing = about(one), about(two), about(uuid4()), about(None)
    given = [waiting, free, missing, nothing, unreadable(say("x"))]
    with holding(database, WORKSPACES, one), connection.transaction():
        found = find_locked(connection, given)
        with psycopg.connect(doors.conninfo(database.url)) as third:
            assert third.execute("SELECT id FROM tenancy.workspaces FOR UPDATE SKIP LOCKED").fetchall() == [(two,)]
    assert found.locked == {LockTarget(WORKSPACES, one): [waiting]}
    assert found.looked_at == {LockTarget(WORKSPACES, event.event.subject) for event in (waiting, free, missing)}  # type: ignore[union-attr]
    assert found.free(given) == given[1:]
    assert find_locked(connection, given).locked == {}


def test_rows_that_events_do_not_name_are_looked_up(database: Database, connection: Connection, wiring: Wiring) -> None:
    """An event that needs several locked rows is listed under the first."""
    one, two = make_workspace(connection), make_workspace(connection)
    both, org_only = about(one.id, one.id), about(two.id, one.id)
    with holding(database, ORGS, one.org_id):
        assert find_locked(connection, [both, org_only]).locked == {LockTarget(ORGS, one.org_id): [both, org_only]}
        with holding(database, WORKSPACES, one.id):
            assert find_locked(connection, [both, org_only]).locked == {
                LockTarget(WORKSPACES, one.id): [both],
                LockTarget(ORGS, one.org_id): [org_only],
            }


def test_a_locked_table_counts_as_locked_rows(database: Database, connection: Connection, wiring: Wiring) -> None:
    """The search waits no longer than the lock time-out, and its connection can be used afterwards."""
    one = make_workspace(connection).id
    with psycopg.connect(database.owner_url) as owner, connection.transaction():
        owner.execute("LOCK TABLE tenancy.workspaces IN ACCESS EXCLUSIVE MODE")
        connection.execute("SET LOCAL lock_timeout = '50ms'")
        assert find_locked(connection, [about(one)]).locked.keys() == {LockTarget(WORKSPACES, one)}
        assert scalar(connection, "SELECT 1") == 1


def test_events_are_grouped_by_the_row_that_is_locked_first(wiring: Wiring) -> None:
    """An event that names no row is grouped by its subject, else by its own id."""
    workspace, plain, broken = uuid4(), about(None), unreadable(say("x"))
    first, second = about(workspace), about(workspace)
    assert by_lock_target([first, plain, second, broken]) == {
        LockTarget(WORKSPACES, workspace): [first, second],
        LockTarget("", plain.event_id): [plain],
        LockTarget("", broken.event_id): [broken],
    }
    with domain.use(Wiring({}, {})):
        assert lock_target(first) == LockTarget("", workspace)


def test_a_stored_error_names_the_row(wiring: Wiring) -> None:
    """Another error, or a table that is not declared any more, names none."""
    target = LockTarget(WORKSPACES, uuid4())
    error = remembered(target.error)
    assert place_in(error) == target
    assert place_in("Busy: x") is None
    with domain.use(Wiring({}, {})):
        assert place_in(error) is None


def test_locked_rows_are_remembered_until_they_are_found_free(wiring: Wiring) -> None:
    """Only events that need such a row are concerned; without lookups, that is read from the events."""
    workspace = uuid4()
    target, event = LockTarget(WORKSPACES, workspace), about(workspace)
    recently = RecentlyLocked()
    with domain.use(replace(wiring, lockables=wiring.lockables[:1])):
        assert not recently.concerns([event])
        recently.update(Found({target: [event]}, {target}))
        assert recently.concerns([about(uuid4()), event])
        assert not recently.concerns([about(uuid4()), about(None)])
        recently.update(Found({}, set()))
        assert recently.concerns([event])
        recently.update(Found({}, {target}))
        assert not recently.concerns([event])


def test_while_a_looked_up_row_is_locked_all_events_are_concerned(wiring: Wiring) -> None:
    """Which events need it is known only to the database."""
    target = LockTarget(ORGS, uuid4())
    recently = RecentlyLocked()
    recently.update(Found({target: []}, {target}))
    assert recently.concerns([about(None)])


def test_a_locked_row_is_forgotten_after_half_a_minute(wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries then wait for the lock again."""
    workspace = uuid4()
    target, event = LockTarget(WORKSPACES, workspace), about(workspace)
    recently = RecentlyLocked()
    monkeypatch.setattr("app.engine.delivery.locked._REMEMBERED_S", -1.0)
    with domain.use(replace(wiring, lockables=wiring.lockables[:1])):
        recently.update(Found({target: [event]}, {target}))
        assert not recently.concerns([event])
