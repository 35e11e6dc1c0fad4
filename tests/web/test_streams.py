"""Progress streams: a job's state and changes for the person who may see it, until they end, and nothing after that."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg
import pytest
from fastapi import Depends, FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from psycopg.rows import class_row

from app.collection.fixtures.collector import equip
from app.context import Connection
from app.engine import hub
from app.engine.viewers import Source
from app.settings import settings
from app.simulators.marketplace import Marketplace
from app.web import streams, tokens
from app.web.app import create
from app.web.streams import Asking, Feed, Stream
from tests.conftest import Database
from tests.helpers import web
from tests.helpers.factories import Workspace, make_member, make_user, make_workspace
from tests.helpers.sse import Event, Listener, listening
from tests.helpers.waits import until

_INSERT = "INSERT INTO logistics.robot_jobs (workspace_id, status, total_items) VALUES (%s, %s, 10) RETURNING id"
_COUNT = """
UPDATE logistics.robot_jobs
   SET success_count = %(done)s, status = CASE WHEN %(done)s = total_items THEN 'completed' ELSE 'processing' END
 WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A job of ten items, and a member of its workspace."""

    connection: Connection
    id: UUID
    workspace: Workspace
    member: UUID

    @property
    def path(self) -> str:
        """The path of its stream."""
        return f"/v1/jobs/{self.id}/events"

    def count(self, done: int) -> None:
        """Set the number of done items. With ten, the job has ended."""
        self.connection.execute(_COUNT, {"done": done, "id": self.id})


def submit(connection: Connection, workspace: Workspace, member: UUID) -> Job:
    """Insert a job."""
    row = connection.execute(_INSERT, [workspace.id, "processing"]).fetchone()
    assert row is not None
    return Job(connection, row[0], workspace, member)


@pytest.fixture
def job(connection: Connection, workspace: Workspace) -> Job:
    """A job that is being processed."""
    return submit(connection, workspace, make_member(connection, workspace))


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A connection for waits, which sees and ends other sessions."""
    with psycopg.connect(database.superuser_url, autocommit=True) as opened:
        yield opened


def done_of(event: Event | None) -> int:
    """Return the number of done items of a state."""
    assert event is not None
    assert event.name == "state"
    return int(event.data["success_count"])


def test_the_state_is_followed_by_its_changes_until_the_job_ends(served: httpx.Client, job: Job) -> None:
    """The last event says that it is the last, and the answer is complete."""
    with listening(served, job.path, job.member) as stream:
        first = stream.next()
        assert first is not None
        assert first.data | {"started_at": None} == {
            "id": str(job.id),
            "status": "processing",
            "generation": 1,
            "total_items": 10,
            "success_count": 0,
            "error_count": 0,
            "is_cancelled": False,
            "started_at": None,
            "completed_at": None,
        }
        job.count(3)
        assert done_of(stream.next()) == 3
        job.count(10)
        last, end = stream.rest()
        assert (done_of(last), last.data["status"], end) == (10, "completed", Event("end", data={}))


def test_a_job_that_has_ended_says_so_at_once(served: httpx.Client, job: Job) -> None:
    """A client that comes back with the id of the last state gets 204, which stops an EventSource too."""
    job.count(10)
    with listening(served, job.path, job.member) as stream:
        state, end = stream.rest()
    assert (done_of(state), end.name, end.id) == (10, "end", None)
    again = web.bearer(job.member) | {"Last-Event-ID": state.id or ""}
    for _ in range(2):  # on one connection
        answer = served.get(job.path, headers=again)
        assert (answer.status_code, answer.content) == (204, b"")
    with listening(served, job.path, job.member, after="old") as stream:
        assert [event.name for event in stream.rest()] == ["state", "end"]


def test_a_client_resumes_after_the_state_that_it_has(served: httpx.Client, job: Job) -> None:
    """It gets nothing before the next change."""
    with listening(served, job.path, job.member) as stream:
        first = stream.next()
    assert first is not None
    with listening(served, job.path, job.member, after=first.id) as stream:
        job.count(1)
        assert done_of(stream.next()) == 1
    with listening(served, job.path, job.member, after=first.id) as stream:
        assert done_of(stream.next()) == 1


def test_any_other_id_gets_the_state(served: httpx.Client, job: Job) -> None:
    """Of another job, of a state of long ago, of another program."""
    other = submit(job.connection, job.workspace, job.member)
    with listening(served, other.path, job.member) as stream:
        of_other = str((stream.next() or Event("")).id)
    assert of_other.startswith(str(other.id))
    for last in (of_other, f"{job.id}.0123456789abcdef", str(job.id), "", "x", "%00", "-1", "é", "x" * 5000):
        with listening(served, job.path, job.member, after=last) as stream:
            assert done_of(stream.next()) == 0


def test_who_may_not_see_the_job_gets_a_problem_instead_of_a_stream(served: httpx.Client, job: Job) -> None:
    """An unknown and a foreign job look alike."""
    outsider = make_member(job.connection, make_workspace(job.connection))
    for path, person in ((f"/v1/jobs/{uuid4()}/events", job.member), (job.path, outsider)):
        answer = served.get(path, headers=web.bearer(person))
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert served.get("/v1/jobs/1/events", headers=web.bearer(job.member)).status_code == 422
    assert served.get(job.path).status_code == 401
    assert served.get(f"/v1/runs/{job.id}/events", headers=web.bearer(job.member)).status_code == 404


def test_a_person_who_loses_access_loses_the_stream(
    served: httpx.Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access is checked again every half minute, here more often, also while states keep coming."""
    monkeypatch.setattr(streams, "_CHECK_EVERY_S", 0.05)
    with listening(served, job.path, job.member) as stream:
        assert done_of(stream.next()) == 0
        job.connection.execute("DELETE FROM tenancy.workspace_members WHERE user_id = %s", [job.member])
        assert stream.rest() == [Event("close", data={"reason": "gone"})]


def test_a_check_that_the_database_does_not_answer_is_repeated(
    served: httpx.Client, job: Job, listener: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the server ends no stream, and the change that it hid is sent."""
    for name in ("_CHECK_EVERY_S", "_CHECK_AGAIN_S"):
        monkeypatch.setattr(streams, name, 0.01)
    with listening(served, job.path, job.member) as stream:
        assert done_of(stream.next()) == 0
        listener.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'tallyman%%'"
            " AND pid <> %s",
            [job.connection.info.backend_pid],
        )
        job.count(1)
        assert done_of(stream.next()) == 1


def test_a_stream_ends_with_its_token(served: httpx.Client, job: Job) -> None:
    """The client gets a new token and connects again. A token that has just expired is still accepted at the door."""
    expired = tokens.issue(settings(), job.member, minutes=0.0001)
    with listening(served, job.path, job.member, Authorization=f"Bearer {expired}") as stream:
        assert [event.name for event in stream.rest()] == ["state", "close"]


def test_viewers_of_a_deleted_job_are_told(served: httpx.Client, job: Job, application: FastAPI) -> None:
    """The next check or read does not find it."""
    with listening(served, job.path, job.member) as stream:
        assert done_of(stream.next()) == 0
        job.connection.execute("DELETE FROM logistics.robot_jobs WHERE id = %s", [job.id])
        application.state.hub.viewers.mark_all()
        assert stream.rest() == [Event("close", data={"reason": "gone"})]


def test_a_quiet_stream_has_a_comment_from_time_to_time(
    served: httpx.Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every 15 s, here more often, so that proxies keep the connection and vanished clients are noticed."""
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.01)
    with listening(served, job.path, job.member) as stream:
        assert done_of(stream.next()) == 0
        assert (stream.next() or Event("")).name == ":"


@dataclass(frozen=True, slots=True)
class Broken:
    """A state that is faulty once items are done."""

    id: UUID
    success_count: int

    @property
    def is_over(self) -> bool:
        """Fail."""
        if self.success_count:
            raise RuntimeError("secret")
        return False


async def _read_broken(connection: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> list[Broken]:
    cursor = connection.cursor(row_factory=class_row(Broken))
    await cursor.execute("SELECT id, success_count FROM logistics.robot_jobs WHERE id = ANY(%s)", [list(ids)])
    return await cursor.fetchall()


_FAULTY = Feed("job", Source("logistics.robot_jobs", _read_broken), lambda _connection, job_id: Broken(job_id, 0))


async def _faulty(job_id: UUID, asking: Annotated[Asking, Depends()]) -> AsyncIterator[Stream[Broken]]:
    async with asking.stream(_FAULTY, job_id) as stream:
        yield stream


async def faulty_events(stream: Annotated[Stream[Broken], Depends(_faulty)]) -> AsyncIterator[ServerSentEvent]:
    """Stream states of which the second is faulty."""
    async for event in stream.events():
        yield event


def test_a_failure_does_not_look_like_the_end(application: FastAPI, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """The event before it arrives, and the last event tells the client to come back. Its text stays in the log."""
    application.get("/faulty/{job_id}", response_class=EventSourceResponse)(faulty_events)
    with web.serving(application) as served, listening(served, f"/faulty/{job.id}", job.member) as stream:
        assert done_of(stream.next()) == 0
        job.count(1)
        assert [done_of(stream.next()), stream.next(), stream.next()] == [
            1,
            Event("close", data={"reason": "error"}),
            None,
        ]
    assert "stream_failed" in caplog.text


def leave(stream: Listener, n: int) -> None:
    """Vanish in one of three ways: closed, reset, or closed in one direction."""
    match n % 3:
        case 0:
            stream.socket.close()
        case 1:
            stream.reset()
        case _:
            stream.socket.shutdown(socket.SHUT_WR)


def test_300_viewers_that_vanish_leave_nothing_behind(
    served: httpx.Client, job: Job, listener: Connection, application: FastAPI
) -> None:
    """No task, no socket, no registration; they shared one connection that listens."""
    viewers = application.state.hub.viewers

    async def tasks() -> int:
        return len(asyncio.all_tasks())

    application.get("/tasks")(tasks)

    def held() -> tuple[int, int]:
        return served.get("/tasks").json(), len(psutil.Process().net_connections("tcp"))

    held()
    before = held()
    with ExitStack() as stack:
        headers = web.bearer(job.member)
        opened = [Listener(served, job.path, headers) for _ in range(300)]
        for stream in opened:
            stack.callback(stream.socket.close)
            assert stream.status() == 200
            assert done_of(stream.next()) == 0
        assert len(viewers) == 300
        assert listener.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [hub.APPLICATION]
        ).fetchall() == [(1,)]
        job.count(1)
        for n, stream in enumerate(opened):
            if n % 2:
                assert done_of(stream.next()) == 1
            leave(stream, n)
        until(listener, lambda: len(viewers) == 0)
    until(listener, lambda: held() == before)


def test_a_viewer_that_does_not_read_is_disconnected(
    application: FastAPI, job: Job, listener: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a minute, here sooner. Until then the server holds one state for it."""
    monkeypatch.setattr(streams, "Hub", partial(hub.Hub, hub.Pace(read_every=0.001)))
    with web.serving(application, unread_ms=200) as served:
        viewers = application.state.hub.viewers
        stream = Listener(served, job.path, web.bearer(job.member), buffer=1)
        try:
            until(listener, lambda: len(viewers) == 1)

            def is_gone() -> bool:
                for done in range(1, 10):
                    job.count(done)
                return len(viewers) == 0

            until(listener, is_gone)
        finally:
            stream.socket.close()


def test_a_person_has_a_number_of_open_streams(
    database: Database, job: Job, listener: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is refused until one is closed. Other people are not concerned."""
    monkeypatch.setenv("TALLYMAN_TOKEN_SECRET", web.SECRET)
    monkeypatch.setenv("TALLYMAN_API_STREAMS_A_PERSON", "2")
    settings.cache_clear()
    headers = web.bearer(job.member)
    with web.serving(create()) as served, ExitStack() as stack:
        opened = [stack.enter_context(listening(served, job.path, job.member)) for _ in range(2)]
        refused = served.get(job.path, headers=headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        stack.enter_context(listening(served, job.path, make_member(job.connection, job.workspace)))
        opened[0].socket.close()

        def is_free() -> bool:
            with closing(Listener(served, job.path, headers).socket) as again:
                return again.recv(12) == b"HTTP/1.1 200"

        until(listener, is_free)


def test_a_stop_ends_open_streams(application: FastAPI, job: Job) -> None:
    """Within two seconds, although the clients keep their connections. They are told to come back."""
    with ExitStack() as stack:
        with web.serving(application) as served:
            opened = [stack.enter_context(listening(served, job.path, job.member)) for _ in range(10)]
            assert [done_of(stream.next()) for stream in opened] == [0] * 10
            began = time.monotonic()
        assert time.monotonic() - began < 2
        for stream in opened:
            assert stream.rest() == [Event("close", data={"reason": "stopping"})]


def test_a_run_is_streamed_to_members_of_its_organisation(
    served: httpx.Client, connection: Connection, workspace: Workspace, marketplace: Marketplace
) -> None:
    """With its costs. A cancelled run has ended."""
    run = equip(connection, workspace.org_id, marketplace).create("toys")
    member = make_user(connection)
    assert served.get(f"/v1/runs/{run.id}/events", headers=web.bearer(member)).status_code == 404
    connection.execute(
        "INSERT INTO tenancy.org_members (org_id, user_id, role) VALUES (%s, %s, 'member')", [run.org_id, member]
    )
    with listening(served, f"/v1/runs/{run.id}/events", member) as stream:
        first = stream.next()
        assert first is not None
        assert (first.data["status"], first.data["cap_cents"]) == ("pending", run.budget_cap_cents)
        connection.execute(
            "UPDATE collection.collection_runs SET status = 'cancelled', completed_at = now() WHERE id = %s", [run.id]
        )
        assert [event.name for event in stream.rest()] == ["state", "end"]
