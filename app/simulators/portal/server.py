"""A running portal in the same process, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from app.simulators.portal.application import Desk, create_portal
from app.simulators.portal.behaviour import Behaviour
from app.simulators.portal.record import Record
from app.simulators.serving import Server, in_thread


class Portal:
    """A running portal in the same process."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self._server = server

    @property
    def _desk(self) -> Desk:
        return cast("Desk", self._server.app.state.desk)

    @property
    def record(self) -> Record:
        """Return the portal's record."""
        return self._desk.record

    @property
    def behaviour(self) -> Behaviour:
        """The settings. A new value applies from the next call on."""
        return self._desk.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._desk.behaviour = behaviour

    def change(self, **changes: Any) -> None:
        """Change some settings. Raises pydantic's `ValidationError` for an invalid setting."""
        self.behaviour = self.behaviour.changed(**changes)

    def start_over(self, behaviour: Behaviour | None = None) -> None:
        """Clear the record and all sessions, for tests that share a portal."""
        self._server.replace(Desk(behaviour or Behaviour(), self._desk.clock))


@contextmanager
def serve(behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.time) -> Iterator[Portal]:
    """Run a portal in a separate thread during the block.

    `clock` returns the portal's time in seconds since 1970. Raises `RuntimeError` if the portal does not start.
    """
    with in_thread(create_portal(behaviour or Behaviour(), clock=clock), "portal") as (url, server):
        yield Portal(url, server)
