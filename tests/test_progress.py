"""Progress: a listener is told that something changed, once a statement, and looks for itself."""

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
    """A connection that listens."""
    with doors.connect(database.url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


def heard(listener: Connection, connection: Connection) -> list[dict[str, Any]]:
    """Every notification so far: the test's own last one ends the wait."""
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
    """So many jobs in one statement."""
    rows = connection.execute(
        "INSERT INTO logistics.robot_jobs (workspace_id) SELECT %s FROM generate_series(1, %s) RETURNING id",
        [workspace.id, count],
    )
    return [job_id for (job_id,) in rows]


def touch(connection: Connection, ids: list[UUID]) -> None:
    """Change jobs in one statement."""
    connection.execute("UPDATE logistics.robot_jobs SET carrier = carrier WHERE id = ANY(%s)", [ids])


def ids_of(told: dict[str, Any]) -> set[UUID]:
    """Which rows a notification names."""
    return {UUID(one) for one in told["ids"]}


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_statement_is_one_notification_with_the_ids_that_it_changed(
    listener: Connection, connection: Connection, workspace: Workspace, count: int
) -> None:
    """For an insert and for an update alike, however many rows."""
    ids = insert(connection, workspace, count)
    (told,) = heard(listener, connection)
    assert (told["table"], ids_of(told)) == (JOBS, set(ids))
    touch(connection, ids)
    (told,) = heard(listener, connection)
    assert ids_of(told) == set(ids)


def test_more_than_a_hundred_are_many(listener: Connection, connection: Connection, workspace: Workspace) -> None:
    """One notification all the same, which names none: a notification holds 8,000 bytes."""
    ids = insert(connection, workspace, 101)
    touch(connection, ids)
    assert heard(listener, connection) == [{"table": JOBS, "ids": None}] * 2


def test_what_changes_nothing_says_nothing(listener: Connection, connection: Connection, workspace: Workspace) -> None:
    """A statement without rows is silent, and so is one that is rolled back."""
    (job_id,) = insert(connection, workspace, 1)
    heard(listener, connection)
    touch(connection, [uuid4()])
    with connection.transaction(force_rollback=True):
        touch(connection, [job_id])
    assert heard(listener, connection) == []


def test_a_persons_change_is_told_too(listener: Connection, connection: Connection, workspace: Workspace) -> None:
    """A role that may change a job needs no grant on the engine."""
    (job_id,) = insert(connection, workspace, 1)
    heard(listener, connection)
    with doors.as_person(connection, make_member(connection, workspace)):
        touch(connection, [job_id])
    assert [ids_of(told) for told in heard(listener, connection)] == [{job_id}]


def test_a_listener_gets_changes_and_is_told_of_silence(
    database: Database, connection: Connection, workspace: Workspace
) -> None:
    """Each change as it is committed, in order; `None` when there was none for a while, so that it can look."""
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


def test_a_change_concerns_those_it_names_and_anybody_when_it_names_nobody() -> None:
    """Too many to name may be all."""
    one, other = uuid4(), uuid4()
    assert Change(JOBS, frozenset([one])).concerns(one)
    assert not Change(JOBS, frozenset([one])).concerns(other)
    assert Change(JOBS, None).concerns(other)
