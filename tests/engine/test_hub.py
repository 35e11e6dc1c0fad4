"""The hub: viewers get changes by one connection, also after that connection was lost or its server froze."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import class_row

from app import database as doors
from app.context import Connection
from app.engine.hub import APPLICATION, Hub, Pace
from app.engine.viewers import Closed, Source, Viewer
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.waits import LIMIT_S, until

_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


@dataclass(frozen=True, slots=True)
class State:
    """A job's columns that the tests change."""

    id: UUID
    carrier: str


@dataclass(slots=True)
class Reads:
    """A source of jobs that records what was read."""

    ids: list[set[UUID]] = field(default_factory=list)

    async def read(self, connection: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> list[State]:
        """Read jobs."""
        self.ids.append(set(ids))
        cursor = connection.cursor(row_factory=class_row(State))
        await cursor.execute("SELECT id, carrier FROM logistics.robot_jobs WHERE id = ANY(%s)", [list(ids)])
        return await cursor.fetchall()


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    """A connection that sees and ends the sessions of others."""
    with psycopg.connect(database.superuser_url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def reads() -> Reads:
    """What the hub read."""
    return Reads()


@pytest.fixture
def jobs(reads: Reads) -> Source[State]:
    """The watched table."""
    return Source("logistics.robot_jobs", reads.read)


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    """A running hub with short limits."""
    hub = Hub(Pace(read_every=0.05, ask_every=0.1, answer_within=0.5, reconnect_after=0.05))
    async with hub.running():
        yield hub


def insert(connection: Connection, workspace: Workspace, count: int = 1) -> list[UUID]:
    """Insert jobs."""
    statement = "INSERT INTO logistics.robot_jobs (workspace_id) SELECT %s FROM generate_series(1, %s) RETURNING id"
    return [job_id for (job_id,) in connection.execute(statement, [workspace.id, count])]


def rename(connection: Connection, ids: list[UUID], carrier: str) -> None:
    """Change jobs in one statement."""
    connection.execute("UPDATE logistics.robot_jobs SET carrier = %s WHERE id = ANY(%s)", [carrier, ids])


async def seen(viewer: Viewer[State], carrier: str) -> int:
    """Wait for a state. Returns the number of states until then."""
    count = 0
    async with asyncio.timeout(LIMIT_S):
        while True:
            state = await viewer.next()
            assert isinstance(state, State)
            count += 1
            if state.carrier == carrier:
                return count


def sessions(owner: Connection) -> set[int]:
    """Return the process ids of the hubs' sessions."""
    return {pid for (pid,) in owner.execute(_SESSIONS, [APPLICATION])}


async def test_viewers_get_the_state_after_a_change(
    hub: Hub, jobs: Source[State], connection: Connection, workspace: Workspace
) -> None:
    """Also one that is committed before the hub's connection exists."""
    (job_id,) = insert(connection, workspace)
    with hub.viewers.join(jobs, job_id) as viewer:
        rename(connection, [job_id], "early")
        await seen(viewer, "early")
        rename(connection, [job_id], "late")
        await seen(viewer, "late")


async def test_many_viewers_share_one_connection_and_one_query(
    hub: Hub, jobs: Source[State], reads: Reads, owner: Connection, connection: Connection, workspace: Workspace
) -> None:
    """A statement that changes 150 rows is one read for the 300 viewers of 30 of them."""
    ids = insert(connection, workspace, 150)
    with ExitStack() as stack:
        viewers = [stack.enter_context(hub.viewers.join(jobs, ids[n % 30])) for n in range(300)]
        for viewer in viewers:
            await seen(viewer, "coordinadora")
        reads.ids.clear()
        rename(connection, ids, "changed")
        for viewer in viewers:
            await seen(viewer, "changed")
        assert reads.ids == [set(ids[:30])]
        assert len(sessions(owner)) == 1


async def test_a_burst_of_changes_is_read_once_an_interval(
    jobs: Source[State], reads: Reads, connection: Connection, workspace: Workspace
) -> None:
    """However many changes are committed within the interval. The last one is read."""
    (job_id,) = insert(connection, workspace)
    hub = Hub(Pace(read_every=0.4))
    began = asyncio.get_running_loop().time()
    with hub.viewers.join(jobs, job_id) as viewer:
        async with hub.running():
            await seen(viewer, "coordinadora")
            for n in range(100):
                await asyncio.to_thread(rename, connection, [job_id], f"carrier {n}")
            await seen(viewer, "carrier 99")
    passed = asyncio.get_running_loop().time() - began
    assert len(reads.ids) <= 2 + passed / 0.4


async def test_changes_while_the_connection_is_lost_are_read_after_the_next_connect(
    hub: Hub, jobs: Source[State], owner: Connection, connection: Connection, workspace: Workspace
) -> None:
    """As after a restart of the server: notifications in between went to nobody."""
    (job_id,) = insert(connection, workspace)
    with hub.viewers.join(jobs, job_id) as viewer:
        await seen(viewer, "coordinadora")
        (first,) = sessions(owner)
        owner.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
        rename(connection, [job_id], "changed")
        await seen(viewer, "changed")
        assert sessions(owner).isdisjoint({first})


async def test_a_server_that_does_not_answer_is_left(
    hub: Hub, jobs: Source[State], owner: Connection, connection: Connection, workspace: Workspace
) -> None:
    """The kernel of a frozen host keeps the connection open, so the hub asks for a sign of life, with its own limit."""
    (job_id,) = insert(connection, workspace)
    with hub.viewers.join(jobs, job_id) as viewer:
        await seen(viewer, "coordinadora")
        (frozen,) = sessions(owner)
        os.kill(frozen, signal.SIGSTOP)
        try:
            rename(connection, [job_id], "changed")
            await seen(viewer, "changed")
        finally:
            os.kill(frozen, signal.SIGCONT)


async def test_threads_that_wait_for_a_frozen_server_go_on(hub: Hub, owner: Connection) -> None:
    """The hub hangs up the connections of the process's pools: their statements would have no end."""
    with doors.pool() as pool, pool.connection() as used:
        await asyncio.to_thread(until, owner, lambda: sessions(owner))
        frozen = {*sessions(owner), used.info.backend_pid}
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(LIMIT_S):
                with pytest.raises(psycopg.OperationalError):
                    await asyncio.to_thread(used.execute, "SELECT 1")
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("payload", ["", "rubbish", "[]", '{"table": 1, "ids": [7]}', '{"ids": ["x"]}', "[" * 5000])
async def test_any_other_notification_is_ignored(
    hub: Hub, jobs: Source[State], owner: Connection, connection: Connection, workspace: Workspace, payload: str
) -> None:
    """Every role of the database can send to the channel. The connection goes on."""
    (job_id,) = insert(connection, workspace)
    with hub.viewers.join(jobs, job_id) as viewer:
        await seen(viewer, "coordinadora")
        before = sessions(owner)
        connection.execute("SELECT pg_notify('tallyman_progress', %s)", [payload])
        rename(connection, [job_id], "changed")
        await seen(viewer, "changed")
        assert sessions(owner) == before


async def test_viewers_of_a_deleted_row_are_told(
    hub: Hub, jobs: Source[State], connection: Connection, workspace: Workspace
) -> None:
    """The next read does not find it."""
    (job_id,) = insert(connection, workspace)
    with hub.viewers.join(jobs, job_id) as viewer:
        await seen(viewer, "coordinadora")
        connection.execute("DELETE FROM logistics.robot_jobs WHERE id = %s", [job_id])
        hub.viewers.mark_all()
        async with asyncio.timeout(LIMIT_S):
            assert await viewer.next() == Closed("gone")


async def test_a_failed_read_is_repeated(hub: Hub, reads: Reads, connection: Connection, workspace: Workspace) -> None:
    """Viewers wait for the next connection."""
    failures = [RuntimeError("a mistake"), psycopg.OperationalError("the server")]

    async def read(on: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> list[State]:
        if failures:
            raise failures.pop()
        return await reads.read(on, ids)

    (job_id,) = insert(connection, workspace)
    with hub.viewers.join(Source("logistics.robot_jobs", read), job_id) as viewer:
        await seen(viewer, "coordinadora")
    assert not failures


async def test_a_hub_that_ends_leaves_nothing_behind(
    jobs: Source[State], owner: Connection, connection: Connection, workspace: Workspace
) -> None:
    """Neither a task nor its session."""
    (job_id,) = insert(connection, workspace)
    before = asyncio.all_tasks()
    hub = Hub()
    async with hub.running():
        with hub.viewers.join(jobs, job_id) as viewer:
            await seen(viewer, "coordinadora")
        assert len(sessions(owner)) == 1
    assert asyncio.all_tasks() == before
    until(owner, lambda: not sessions(owner))
