"""Progress: one notification for each statement that changes rows, with their ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import database as doors
from app.context import Connection
from app.engine.progress import CHANNEL, Change, listen
from tests.conftest import Database
from tests.helpers.factories import Workspace, make_member

JOBS = "logistics.robot_jobs"


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A connection that listens to the channel."""
    with doors.connect(database.url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


def heard(listener: Connection, connection: Connection) -> list[dict[str, Any]]:
    """Return all notifications so far. A last one of the test ends the wait."""
    end = uuid4().hex
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, json.dumps(end)])
    found: list[dict[str, Any]] = []
    for notification in listener.notifies(timeout=10):
        told = json.loads(notification.payload)
        if told == end:
            return found
        found.append(told)
    raise AssertionError(found)


def insert(connection: Connection, workspace: Workspace, count: int) -> list[UUID]:
    """Insert jobs in one statement. Returns their ids."""
    rows = connection.execute(
        "INSERT INTO logistics.robot_jobs (workspace_id) SELECT %s FROM generate_series(1, %s) RETURNING id",
        [workspace.id, count],
    )
    return [job_id for (job_id,) in rows]


def touch(connection: Connection, ids: list[UUID]) -> None:
    """Update jobs in one statement."""
    connection.execute("UPDATE logistics.robot_jobs SET carrier = carrier WHERE id = ANY(%s)", [ids])


def ids_of(told: dict[str, Any]) -> set[UUID]:
    """Return the ids of a notification."""
    return {UUID(one) for one in told["ids"]}


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_statement_is_one_notification_with_the_ids_that_it_changed(
    listener: Connection, connection: Connection, workspace: Workspace, count: int
) -> None:
    """For an insert and for an update, up to a hundred rows."""
    ids = insert(connection, workspace, count)
    (told,) = heard(listener, connection)
    assert (told["table"], ids_of(told)) == (JOBS, set(ids))
    touch(connection, ids)
    (told,) = heard(listener, connection)
    assert ids_of(told) == set(ids)


def test_a_notification_of_more_than_a_hundred_rows_has_no_ids(
    listener: Connection, connection: Connection, workspace: Workspace
) -> None:
    """A notification can hold 8,000 bytes."""
    ids = insert(connection, workspace, 101)
    touch(connection, ids)
    assert heard(listener, connection) == [{"table": JOBS, "ids": None}] * 2


def test_a_statement_without_a_change_has_no_notification(
    listener: Connection, connection: Connection, workspace: Workspace
) -> None:
    """Neither has one that is rolled back."""
    (job_id,) = insert(connection, workspace, 1)
    heard(listener, connection)
    touch(connection, [uuid4()])
    with connection.transaction(force_rollback=True):
        touch(connection, [job_id])
    assert heard(listener, connection) == []


def test_a_persons_change_has_a_notification(
    listener: Connection, connection: Connection, workspace: Workspace
) -> None:
    """The role that changes a job needs no grant on the engine."""
    (job_id,) = insert(connection, workspace, 1)
    heard(listener, connection)
    with doors.as_person(connection, make_member(connection, workspace)):
        touch(connection, [job_id])
    assert [ids_of(told) for told in heard(listener, connection)] == [{job_id}]


def test_a_listener_gets_each_change_and_none_after_a_timeout(
    database: Database, connection: Connection, workspace: Workspace
) -> None:
    """Changes come in the order of their commits. `None` lets the listener check for itself."""
    with doors.connect(database.url, autocommit=True) as listening:
        changes = listen(listening, timeout=0.05)
        assert next(changes) is None
        ids = insert(connection, workspace, 3)
        touch(connection, ids[:1])
        touch(connection, insert(connection, workspace, 101))
        assert next(changes) == Change(JOBS, frozenset(ids))
        assert next(changes) == Change(JOBS, frozenset(ids[:1]))
        assert [next(changes) for _ in range(2)] == [Change(JOBS, None)] * 2
        assert next(changes) is None


def test_a_change_without_ids_may_concern_any_row() -> None:
    """A change with ids concerns only those."""
    one, other = uuid4(), uuid4()
    assert Change(JOBS, frozenset([one])).concerns(one)
    assert not Change(JOBS, frozenset([one])).concerns(other)
    assert Change(JOBS, None).concerns(other)


@pytest.mark.parametrize(
    "payload", ["", "rubbish", "[]", "7", '{"ids": null}', '{"table": "t", "ids": [7]}', "[" * 5000]
)
def test_a_notification_that_is_no_change_is_refused(payload: str) -> None:
    """By `ValueError`, whatever it holds: every role of the database may send to the channel."""
    with pytest.raises(ValueError, match="not a change"):
        Change.parse(payload)
