"""Viewers: which rows are read for whom, and the newest state that a viewer has not taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app.engine.progress import Change
from app.engine.viewers import Closed, Source, Viewer, Viewers, show


@dataclass(frozen=True, slots=True)
class Count:
    """A state."""

    id: UUID
    done: int


async def read(_connection: Any, _ids: Sequence[UUID]) -> list[Count]:
    """Not called: these tests need no database."""
    raise AssertionError


JOBS = Source("shop.jobs", read)
RUNS = Source("shop.runs", read)


def test_a_viewer_holds_the_newest_state_only() -> None:
    """States that a slow viewer did not take are replaced, so it never holds more than one."""

    async def take() -> list[Count | Closed]:
        viewer, job_id = Viewer[Count](), uuid4()
        for done in range(100):
            viewer.show(Count(job_id, done))
        newest = await viewer.next()
        waits = asyncio.ensure_future(viewer.next())
        await asyncio.sleep(0)
        assert not waits.done()
        viewer.show(Count(job_id, 100))
        return [newest, await waits]

    first, second = asyncio.run(take())
    assert isinstance(first, Count)
    assert isinstance(second, Count)
    assert (first.done, second.done) == (99, 100)


def test_nothing_follows_the_end() -> None:
    """A closed viewer returns the reason, each time that it is asked."""

    async def take() -> list[Count | Closed]:
        viewer = Viewer[Count]()
        viewer.show(Closed("stopping"))
        viewer.show(Count(uuid4(), 1))
        return [await viewer.next(), await viewer.next()]

    assert asyncio.run(take()) == [Closed("stopping")] * 2


def test_only_watched_rows_are_read_each_once() -> None:
    """Changes of other rows and tables are not read for; many changes and viewers of one row are one read."""
    viewers = Viewers()
    one, other, run = uuid4(), uuid4(), uuid4()
    with viewers.join(JOBS, one) as first, viewers.join(JOBS, one) as second, viewers.join(RUNS, run):
        viewers.take_stale()
        viewers.mark(Change("shop.jobs", frozenset([one, other])))
        viewers.mark(Change("shop.jobs", frozenset([one])))
        viewers.mark(Change("shop.orders", None))
        taken = viewers.take_stale()
        assert {source: set(rows) for source, rows in taken.items()} == {JOBS: {one}}
        assert set(taken[JOBS][one]) == {first, second}
        assert not viewers.has_stale


def test_a_change_of_too_many_rows_to_list_marks_the_watched_rows_of_its_table() -> None:
    """And a lost connection marks the rows of all tables."""
    viewers = Viewers()
    job, run = uuid4(), uuid4()
    with viewers.join(JOBS, job), viewers.join(RUNS, run):
        viewers.take_stale()
        viewers.mark(Change("shop.jobs", None))
        assert set(viewers.take_stale()) == {JOBS}
        viewers.mark_all()
        assert {source: set(rows) for source, rows in viewers.take_stale().items()} == {JOBS: {job}, RUNS: {run}}


def test_a_viewer_that_joins_during_a_read_gets_the_next() -> None:
    """That read may be older than the state that the viewer knows."""
    viewers = Viewers()
    job = uuid4()
    with viewers.join(JOBS, job) as early:
        taken = viewers.take_stale()
        with viewers.join(JOBS, job) as late:
            assert set(taken[JOBS][job]) == {early}
            assert set(viewers.take_stale()[JOBS][job]) == {early, late}


def test_who_left_is_forgotten() -> None:
    """Nothing is kept of a row without viewers, also if the row was marked or the viewer failed."""
    viewers = Viewers()
    job = uuid4()
    with suppress(RuntimeError), viewers.join(JOBS, job), viewers.join(JOBS, job):
        assert len(viewers) == 2
        raise RuntimeError
    assert len(viewers) == 0
    viewers.mark(Change("shop.jobs", None))
    viewers.mark_all()
    assert viewers.take_stale() == {}


def test_a_marked_row_whose_viewers_left_is_not_read() -> None:
    """The last viewer may leave between the change and the read."""
    viewers = Viewers()
    with viewers.join(JOBS, uuid4()):
        pass
    assert viewers.take_stale() == {JOBS: {}}


def test_a_row_that_is_not_found_is_gone() -> None:
    """It was deleted: its viewers are told."""
    job, gone = uuid4(), uuid4()
    of_job, of_gone = Viewer[Count](), Viewer[Count]()

    async def take() -> list[Count | Closed]:
        show({job: [of_job], gone: [of_gone]}, [Count(job, 1)])
        return [await of_job.next(), await of_gone.next()]

    assert asyncio.run(take()) == [Count(job, 1), Closed("gone")]


def test_closing_reaches_those_that_join_later() -> None:
    """A request that was under way at the time joins afterwards."""
    viewers = Viewers()

    async def take() -> list[Count | Closed]:
        with viewers.join(JOBS, uuid4()) as early:
            viewers.close("stopping")
            with viewers.join(JOBS, uuid4()) as late:
                return [await early.next(), await late.next()]

    assert asyncio.run(take()) == [Closed("stopping")] * 2
