"""Group commit: values that arrive while a transaction is under way are committed together by the next one.

A transaction costs its round trips and a commit that waits for the disk. Under load many values share both. A single
value waits for nobody. Each caller returns after the commit of its value, whatever else is in the transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

MOST = 100
"""Most values of one transaction."""

T = TypeVar("T")


class Gathering(Generic[T]):
    """Commits values, as many together as wait. Used in one event loop.

    `commit`: commits all values of a list, or raises and commits none. It should not wait for long: the next values
    wait for it. `commit_one`: commits one value. `is_final`: whether an error of `commit` is every value's error; if
    not, each value is committed by itself, beside the next values. Both functions run in threads.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], object],
        commit_one: Callable[[T], object],
        is_final: Callable[[Exception], bool],
    ) -> None:
        self._commit = commit
        self._commit_one = commit_one
        self._is_final = is_final
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._commits = False

    async def take(self, value: T) -> None:
        """Return when `value` is committed. Raises the error that prevented it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((value, done))
        if not self._commits:
            self._commits = True
            self._start(self._run())
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._commit_all(together)
        finally:
            self._commits = False

    async def _commit_all(self, together: Sequence[tuple[T, asyncio.Future[None]]]) -> None:
        try:
            await run_in_threadpool(self._commit, [value for value, _ in together])
        except Exception as error:  # noqa: BLE001 - it is passed on
            for value, done in together:
                if self._is_final(error):
                    _end(done, error)
                else:
                    self._start(self._commit_alone(value, done))
        else:
            for _, done in together:
                _end(done)

    async def _commit_alone(self, value: T, done: asyncio.Future[None]) -> None:
        try:
            await run_in_threadpool(self._commit_one, value)
        except Exception as error:  # noqa: BLE001 - it is passed on
            _end(done, error)
        else:
            _end(done)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _end(done: asyncio.Future[None], error: Exception | None = None) -> None:
    if done.done():  # its caller was cancelled
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
