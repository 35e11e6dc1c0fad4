"""A running portal in the same process, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.simulators.portal.application import Desk, create_portal
from app.simulators.portal.behaviour import Behaviour
from app.simulators.portal.record import Record
from app.simulators.running import Running
from app.simulators.serving import in_thread


class Portal(Running[Behaviour, Desk]):
    """A running portal in the same process."""

    @property
    def record(self) -> Record:
        """Return the portal's record."""
        return self.desk.record


@contextmanager
def serve(behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.time) -> Iterator[Portal]:
    """Run a portal in a separate thread during the block.

    `clock` returns the portal's time in seconds since 1970. Raises `RuntimeError` if the portal does not start.
    """
    with in_thread(create_portal(behaviour or Behaviour(), clock=clock), "portal") as (url, server):
        yield Portal(url, server)
