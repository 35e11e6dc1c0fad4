"""Group commit: values that wait together are committed together, and each caller gets the end of its own value."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from app.web.webhooks.gathering import MOST, Gathering
from tests.helpers.waits import LIMIT_S


class Away(Exception):
    """An error of every value."""


@dataclass
class Store:
    """Commits numbers. Negative numbers fail by themselves, zero fails the whole; `go` lets commits proceed."""

    go: threading.Event = field(default_factory=threading.Event)
    together: list[list[int]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)

    def commit(self, values: Sequence[int]) -> None:
        """Commit all values or none."""
        assert self.go.wait(LIMIT_S)
        if 0 in values:
            raise Away
        if min(values) < 0:
            raise ValueError(values)
        self.together.append(list(values))

    def commit_one(self, value: int) -> None:
        """Commit a value by itself."""
        if value < 0:
            raise ValueError(value)
        self.alone.append(value)


def gathering(store: Store) -> Gathering[int]:
    """Return a gathering over a store."""
    return Gathering(store.commit, store.commit_one, lambda error: isinstance(error, Away))


async def take(gathered: Gathering[int], store: Store, *values: int) -> list[str]:
    """Take the first value, and the others while it is committed. Returns how each ended."""
    tasks = [asyncio.create_task(gathered.take(values[0]))]
    await asyncio.sleep(0)  # the first commit has begun
    tasks += [asyncio.create_task(gathered.take(value)) for value in values[1:]]
    await asyncio.sleep(0)
    store.go.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return ["ok" if one is None else type(one).__name__ for one in ended]


async def test_values_that_wait_are_committed_together() -> None:
    """The first one alone, the others by the next commit, at most a hundred at once."""
    store = Store()
    values = list(range(1, MOST + 12))
    assert await take(gathering(store), store, *values) == ["ok"] * len(values)
    assert store.together == [[1], values[1 : MOST + 1], values[MOST + 1 :]]
    assert store.alone == []


async def test_a_value_that_fails_fails_alone() -> None:
    """If a commit of several fails, each value is committed by itself, and only the wrong one has the error."""
    store = Store()
    assert await take(gathering(store), store, 1, 2, -3, 4) == ["ok", "ok", "ValueError", "ok"]
    assert store.together == [[1]]
    assert sorted(store.alone) == [2, 4]


async def test_an_error_of_all_values_is_every_callers() -> None:
    """Nothing is tried again if the store is away. The next value is committed as usual."""
    store = Store()
    gathered = gathering(store)
    assert await take(gathered, store, 1, 0, 2) == ["ok", "Away", "Away"]
    assert store.alone == []
    await gathered.take(3)
    assert store.together == [[1], [3]]


async def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    """A request whose client went away is committed all the same: nobody knows whether the client has given up."""
    store = Store()
    gathered = gathering(store)
    first, second = (asyncio.create_task(gathered.take(value)) for value in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    store.go.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert sorted(value for values in store.together for value in values) == [1, 2]
