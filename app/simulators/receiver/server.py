"""A running receiver in the same process, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from app.simulators.receiver.application import Desk, create_receiver
from app.simulators.receiver.behaviour import Behaviour
from app.simulators.receiver.record import Received
from app.simulators.serving import Server, in_thread


class Receiver:
    """A running receiver in the same process."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self._server = server

    @property
    def _desk(self) -> Desk:
        return cast("Desk", self._server.app.state.desk)

    @property
    def received(self) -> Sequence[Received]:
        """Return the received requests that were answered or given up, in this order."""
        return self._desk.received

    @property
    def behaviour(self) -> Behaviour:
        """Return the settings."""
        return self._desk.behaviour

    def most_at_once(self, path: str) -> int:
        """Return the most concurrent requests to a path."""
        return self._desk.most_at_once[path]

    def change(self, **changes: Any) -> None:
        """Change some settings. Raises pydantic's `ValidationError` for an invalid setting."""
        self._desk.behaviour = self._desk.behaviour.changed(**changes)

    def start_over(self, behaviour: Behaviour | None = None) -> None:
        """Clear the record, for tests that share a receiver."""
        self._server.replace(Desk(behaviour or Behaviour(), self._desk.clock))


@contextmanager
def serve(behaviour: Behaviour | None = None) -> Iterator[Receiver]:
    """Run a receiver in a separate thread during the block. Raises `RuntimeError` if it does not start."""
    with in_thread(create_receiver(behaviour or Behaviour(), clock=time.time), "receiver") as (url, server):
        yield Receiver(url, server)
